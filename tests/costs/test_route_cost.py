"""What an image's way through a routing network costs: what is said is what is computed."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from fewmask.costs.route_cost import Costs, costs_of
from fewmask.nets.base.segnet import SegNet
from fewmask.nets.dsnet import dsnet
from fewmask.nets.routing import cells
from fewmask.nets.routing.routing import Config, build, encoder_of, full_grid, text_of

SIZE = (64, 96)
FIXED = ["k", "kd -", "k ku kd", "k - k k"]


def small(**fields) -> SegNet:
    """Its gates open for some images and not for others."""
    torch.manual_seed(0)
    net = build(Config.model_validate({"layers": 3, "channels": 4, **fields}), 3).eval()
    for cell in encoder_of(net).cells():
        if cell.paths and "paths" not in fields:
            cell.gate.decide.weight.data.normal_(0, 1)
            cell.gate.decide.bias.data.normal_(0, 1)
    return net


def images(count: int = 5) -> torch.Tensor:
    """Each of another contrast and brightness."""
    torch.manual_seed(1)
    return torch.randn(count, 3, *SIZE) * torch.linspace(0.2, 3, count).view(-1, 1, 1, 1) + torch.randn(count, 3, 1, 1)


def really(net: SegNet, x: torch.Tensor) -> float:
    """Multiply-accumulates of a forward pass that skips."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(x)
    return counter.get_total_flops() / 2


def small_costs() -> Costs:
    """Two cells: operations 10 and 20, paths (1, 2, 3) and (4, none, 5), 100 always."""
    ops, paths = torch.tensor([10.0, 20]), torch.tensor([[1.0, 2, 3], [4, 0, 5]])
    return Costs(ops.double(), paths.double(), 100.0)


def test_worked_costs():
    """Image 1: 0.5 * 10 + 0.5 * 1 + 0.2 * 3 and 0.1 * 20 + 0.1 * 5: 100 + 6.1 + 2.5; executed 10 + 1 + 3 and 20 + 5.
    Image 2 has the first cell closed, of the second all open: 100 + 20 + 4 + 5 either way. The whole is 145."""
    costs = small_costs()
    gates = torch.tensor([[[0.5, 0, 0.2], [0, 0, 0.1]], [[0, 0, 0], [1, 0, 1]]])
    assert costs.of(gates).tolist() == pytest.approx([108.6, 129])
    assert costs.executed(gates).tolist() == [139, 129]
    assert costs.whole == 145
    assert costs.executed(torch.ones(1, 2, 3)).item() == costs.of(torch.ones(1, 2, 3)).item() == 145


def test_the_cost_is_a_function_that_gates_can_follow():
    """Of the first cell's gates the first is the largest: 10 + 1, 2 and 3; of the second's the last."""
    gates = torch.tensor([[[0.5, 0.4, 0.2], [0.1, 0, 0.2]]], requires_grad=True)
    small_costs().of(gates).sum().backward()
    assert gates.grad.tolist() == [[[11, 2, 3], [4, 0, 25]]]


def test_each_image_costs_what_is_counted_while_it_takes_its_way(monkeypatch):
    monkeypatch.setattr(cells, "WORTH", 1.0)  # all that can be left out of a batch is
    net, x = small(), images()
    costs = costs_of(net, SIZE)
    with torch.no_grad():
        found = costs.executed(net.features(x)[-1].gates).tolist()
    assert found == [really(net, one[None]) for one in x]
    assert len(set(found)) > 3
    assert sum(found) == really(net, x)  # all at once, too
    assert max(found) < costs.whole


def test_the_cost_of_open_and_closed_gates_is_the_executed_one():
    costs, gates = costs_of(small(), SIZE), torch.rand(4, 10, 3).round()
    for number, paths in enumerate(paths for layer in full_grid(3) for paths in layer):
        gates[:, number] *= torch.tensor([float(path in paths) for path in ("keep", "up", "down")])
    torch.testing.assert_close(costs.of(gates).double(), costs.executed(gates), rtol=1e-6, atol=0)


@pytest.mark.parametrize("size", [(64, 96), (50, 70)])
def test_the_whole_is_what_the_network_costs_with_every_gate_open(size):
    """And always runs what an image without a way costs; sizes are padded ones."""
    net = small()
    costs = costs_of(net, size)
    for bias, expected in ((100, costs.whole), (-100, costs.always)):
        for cell in encoder_of(net).cells():
            cell.gate.decide.bias.data.fill_(bias)
        assert really(net, torch.zeros(1, 3, *size)) == expected


@pytest.mark.parametrize("paths", [FIXED, [text_of(layer) for layer in full_grid(3)]])
def test_a_fixed_network_costs_what_it_has(paths):
    net = small(paths=paths)
    costs = costs_of(net, SIZE)
    with torch.no_grad():
        gates = net.features(images(1))[-1].gates
    assert costs.executed(gates).item() == costs.whole == really(net, images(1))


def test_small_gates_cost_a_sixteenth():
    """What their 1x1 convolutions do; their linear layers stay."""
    large, reduced = (costs_of(small(small_gates=small_gates), (512, 512)) for small_gates in (False, True))
    cells = [(4 * 2**level, (128 >> level) ** 2) for layer in full_grid(3) for level in range(len(layer))]
    looks = sum(channels * (channels // 2) * pixels for channels, pixels in cells)
    assert large.always - reduced.always == looks * 15 / 16
    assert torch.equal(large.ops, reduced.ops)


def test_a_fifth_of_the_paper_s_network_always_runs():
    """0.198. What gates decide on is 26.24 * 10^9 at 768 x 768, the authors' constant, without the initial cell's
    convolutions (but with its path): for them every image goes through it."""
    costs = costs_of(build(Config(), 19), (768, 768))
    assert costs.always / costs.whole == pytest.approx(0.198, abs=0.0005)
    assert float(costs.ops[1:].sum() + costs.paths.sum()) / 1e9 == pytest.approx(26.24, abs=0.005)


def test_another_network_has_no_cells():
    with pytest.raises(AssertionError, match="only a routing network has cells"):
        costs_of(dsnet.build(dsnet.Config(width=0.25, blocks=[1, 1, 1, 1]), 3), SIZE)
