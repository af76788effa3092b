"""Which puzzle a network is shown: from the finest map down, the average, a linear layer."""

import pytest
import torch
from torch import nn

from fewmask.methods.selene.pretext import Solver, TopDown, channels_of
from fewmask.nets.base.segnet import SegNet, maps_of
from fewmask.nets.dsnet import dsnet
from fewmask.nets.routing import routing

DSNET = dsnet.Config(width=0.25, blocks=[1, 1, 1, 1])
ROUTING = routing.Config(layers=3, channels=4)


def net(config=ROUTING) -> SegNet:
    torch.manual_seed(0)
    return (routing if config is ROUTING else dsnet).build(config, 3)


def test_top_down_by_hand():
    """One channel of 3, then two of (10, 20), then two of (0, 1).

    First 1x1, weights (2, -1): ReLU(6), ReLU(-3), plus (10, 20): (16, 20). Second, rows (1, 0) and (-1, 1): (16, 4),
    plus (0, 1): (16, 5). Linear, rows (1, 0) and (1, 2), bias (0, 100): 16 and 126.
    """
    made = TopDown([1, 2, 2], 2).eval()
    made.steps[0][0].weight.data = torch.tensor([[2.0], [-1]]).view(2, 1, 1, 1)
    made.steps[1][0].weight.data = torch.tensor([[1.0, 0], [-1, 1]]).view(2, 2, 1, 1)
    made.classify.weight.data, made.classify.bias.data = torch.tensor([[1.0, 0], [1, 2]]), torch.tensor([0.0, 100])
    for step in made.steps:
        step[1].eps = 0.0  # batch norm divides by 1
    levels = [[3.0], [10.0, 20.0], [0.0, 1.0]]
    maps = [torch.tensor(each).view(1, -1, 1, 1).repeat(1, 1, 8 >> i, 12 >> i) for i, each in enumerate(levels)]
    assert made(maps).tolist() == [[16, 126]]


def test_all_positions_count_alike():
    """Four values of mean 2.5."""
    made = TopDown([1], 1)
    made.classify.weight.data, made.classify.bias.data = torch.tensor([[2.0]]), torch.tensor([1.0])
    assert made([torch.tensor([[[[1.0, 2], [3, 4]]]])]).tolist() == [[6]]


@pytest.mark.parametrize(("config", "channels"), [(ROUTING, [4, 8, 16, 32]), (DSNET, [18])])
def test_a_network_of_several_maps_or_of_one(config, channels):
    solver = Solver(net(config), 100).eval()
    assert channels_of(solver.net) == channels
    assert len(solver.top_down.steps) == len(channels) - 1
    maps = maps_of(solver.net.features(torch.randn(2, 3, 32, 64))[-1])
    assert solver.top_down(maps).shape == (2, 100)
    if len(maps) == 1:
        torch.testing.assert_close(solver.top_down(maps), solver.top_down.classify(maps[0].mean((2, 3))))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("config", [ROUTING, DSNET])
def test_to_ask_for_channels_changes_nothing(config, training):
    found = net(config).train(training)
    before = {name: value.clone() for name, value in found.state_dict().items()}
    channels_of(found)
    assert {module.training for module in found.modules()} == {training}
    assert all(torch.equal(before[name], value) for name, value in found.state_dict().items())


def test_a_puzzle_s_gradient_reaches_the_blocks_and_not_the_head():
    solver = Solver(net(), 100)
    maps = maps_of(solver.net.features(torch.randn(2, 3, 32, 64))[-1])
    nn.functional.cross_entropy(solver.top_down(maps), torch.tensor([3, 99])).backward()
    assert all(p.grad is not None for p in solver.net.blocks.parameters())
    assert all(p.grad is not None for p in solver.top_down.parameters())
    assert all(p.grad is None for p in solver.net.head.parameters())


def test_prediction_needs_the_network_alone():
    whole = net()
    solver = Solver(whole, 100)
    assert solver.net is whole
    assert [name for name in whole.state_dict() if "top_down" in name] == []
    own = {name for name in solver.state_dict() if not name.startswith("net.")}
    assert {name.split(".")[0] for name in own} == {"top_down"}
