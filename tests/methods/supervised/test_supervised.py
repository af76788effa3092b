"""The baseline: what it publishes, and what its average is."""

import copy

import torch

from fewmask.learning.learner import Batch, Task
from fewmask.methods.supervised.supervised import Config, Supervised
from fewmask.nets.base.normalise import Normalise
from fewmask.nets.base.published import build
from fewmask.nets.dsnet.dsnet import Config as DSNet

NETWORK = DSNet(width=0.25, blocks=[1, 1, 1, 1])
PLAIN = Normalise((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def learner(**fields) -> Supervised:
    torch.manual_seed(0)
    config = Config.model_validate({"steps": 10, "batch": 2, "optimiser": {"name": "sgd", "lr": 0.1}, **fields})
    return Supervised(config, Task(["a", "b"], NETWORK.model_dump(), lambda: build(NETWORK, 2), PLAIN)).train()


def moved(method: Supervised, t: float) -> Batch:
    """One step, whose optimiser adds 1 to every parameter; the batch it saw."""
    generator = torch.Generator().manual_seed(round(10 * t))
    x = torch.randn(2, 3, 32, 32, generator=generator)
    batch = Batch(x, torch.randint(0, 2, (2, 32, 32), generator=generator), x[:0])
    steps = method.step(batch, t)
    next(steps)
    with torch.no_grad():
        for parameter in method.net.parameters():
            parameter.add_(1.0)
    assert next(steps, None) is None
    return batch


def test_without_a_decay_the_network_itself_is_published():
    method = learner()
    assert method.result()[1] is method.net


def test_the_average_is_the_mean_at_first_and_then_forgets():
    """After steps 0, 1, 2 the decays are 0, 1/2 and, as 2/3 is more, 0.6: x + 1, x + 1.5, x + 0.6 * 1.5 + 0.4 * 3."""
    method = learner(decay=0.6)
    start = [p.clone() for p in method.net.parameters()]
    for step, expected in ((0, 1.0), (1, 1.5), (2, 2.1)):
        moved(method, step / 10)
        average = method.result()[1].parameters()
        for first, now in zip(start, average, strict=True):
            torch.testing.assert_close(now, first + expected)


def test_the_average_has_the_statistics_of_what_it_saw_itself():
    method = learner(decay=0.6)
    twin = copy.deepcopy(method.result()[1]).train()
    twin(moved(method, 0.0).x_l)
    wanted = dict(twin.named_buffers())
    assert any("running_mean" in name for name in wanted)
    for name, buffer in method.result()[1].named_buffers():
        assert torch.equal(buffer, wanted[name]), name
