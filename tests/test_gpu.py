"""What every learner promises, on CUDA; run with ``-m gpu`` on a machine that has it."""

import copy

import pytest
import torch

from fewmask.learning.fit import fit
from fewmask.nets.base.device import start
from fewmask.nets.base.normalise import Normalise
from fewmask.nets.routing import routing
from fewmask.nets.routing.routing import encoder_of
from tests import test_contract
from tests.test_contract import LEARNERS, batches, check_predictions, make  # noqa: F401

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def deterministic(monkeypatch):
    start(None)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # what is compared is computed in float32
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def on_cuda(batches, monkeypatch):  # noqa: F811
    normalise = Normalise(batches.normalise.mean, batches.normalise.std, "cuda")
    monkeypatch.setattr(test_contract, "NORMALISE", normalise)  # of the tasks that ``make`` makes
    moved = copy.copy(batches)
    moved.device, moved.normalise = torch.device("cuda"), normalise
    return moved


@pytest.mark.parametrize("kind", LEARNERS)
def test_two_trainings_are_equal_to_the_bit_and_predict(kind, on_cuda, tmp_path):
    results = []
    for number in range(2):
        learner = make(kind).cuda().to(memory_format=torch.channels_last)
        fit(learner, on_cuda, learner.config, seed=0, folder=tmp_path / str(number))
        results.append(torch.cat([parameter.flatten() for parameter in learner.result()[1].parameters()]))
    assert torch.equal(*results)
    check_predictions(learner, on_cuda(0).x_l)


@pytest.fixture
def network():
    torch.manual_seed(0)
    net = routing.build(routing.Config(layers=6, channels=16), 5)
    for cell in encoder_of(net).cells():
        torch.nn.init.normal_(cell.gate.decide.weight, std=4.0)
        torch.nn.init.normal_(cell.gate.decide.bias)
    return net.eval().to("cuda", memory_format=torch.channels_last)


def test_skipping_what_is_closed_equals_computing_it(network):
    x = torch.randn(6, 3, 64, 96, device="cuda")
    with torch.no_grad():
        together, alone = network(x), torch.cat([network(each[None]) for each in x])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-3 * together.abs().max().item())
    torch.testing.assert_close(network(x).detach(), together, rtol=1e-3, atol=1e-3 * together.abs().max().item())


def test_cuda_and_the_cpu_agree(network):
    x = torch.randn(2, 3, 64, 96)
    on_cpu = copy.deepcopy(network).cpu()
    with torch.no_grad():
        found, expected = network(x.cuda()).cpu(), on_cpu(x)
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2 * expected.abs().max().item())
