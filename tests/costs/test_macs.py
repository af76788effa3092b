"""What a network costs: as counted on numbers, by hand, and as the authors of the routing network count."""

from functools import cache

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fewmask.costs.macs import gmacs, macs
from fewmask.nets.base.segnet import SegNet
from fewmask.nets.deeplabv3plus import deeplabv3plus
from fewmask.nets.dsnet import dsnet
from fewmask.nets.routing import routing
from fewmask.nets.routing.routing import LEVELS, encoder_of

NETWORKS = {
    "dsnet": (dsnet, dsnet.Config(width=0.25, blocks=[1, 1, 1, 1])),
    "deeplabv3plus": (
        deeplabv3plus,
        deeplabv3plus.Config(
            encoder="resnet18", aspp_channels=8, low_channels=4, decoder_channels=8, aspp_rates=(1, 2)
        ),
    ),
    "routing": (routing, routing.Config(layers=3, channels=4)),
}


def really(net: nn.Module, size: tuple[int, int]) -> float:
    """Counted while numbers are computed, all gates open."""
    x = torch.randn(1, 3, *size)
    with FlopCounterMode(display=False) as counter:
        net.eval()(x)
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(64, 96), (50, 70)])
def test_no_memory_is_needed_to_count_what_numbers_cost(name, size):
    module, config = NETWORKS[name]
    net = module.build(config, 3)
    found = macs(net, size)
    assert found[""] == really(net, size) == gmacs(net, size) * 1e9


def test_multiply_accumulates_by_hand():
    """k^2 C_in / g C_out H W: 1x1 of 3 x 4 channels on 8 x 10; 3x3 of 4 x 6 in two groups on 4 x 5. Norms are free."""
    first = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    net = nn.Sequential(first, nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), nn.ReLU())
    expected = {"0": 3 * 4 * 80, "1": 9 * 2 * 6 * 20}
    assert macs(net, (8, 10)) == {"": sum(expected.values()), "0.0": expected["0"], **expected}


def test_operations_on_each_number_by_hand():
    """Of 4 maps of 8 x 10: batch norm 2, ReLU 1 wherever it writes, mean 1 a number."""
    norm, relus = nn.BatchNorm2d(4), nn.Sequential(nn.ReLU(), nn.ReLU(inplace=True))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.relus, self.linear = nn.Conv2d(3, 4, 1), norm, relus, nn.Linear(4, 5)

        def forward(self, x):
            return self.linear(self.relus(self.norm(self.conv(x))).mean((2, 3)))

    found = macs(Net(), (8, 10), elementwise=True)
    conv, number, linear = 3 * 4 * 80, 4 * 80, 4 * 5
    parts = {"conv": conv, "norm": 2 * number, "relus": 2 * number, "linear": linear}
    assert {name: found[name] for name in parts} == parts
    assert found[""] == sum(parts.values()) + number
    assert macs(Net(), (8, 10))[""] == conv + linear


def test_counting_takes_no_memory_and_changes_nothing():
    """100,000 x 100,000 pixels would be 120 GB; training flags are one by one what they were."""
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4)))
    net[1].eval()
    before = {name: (value.data_ptr(), value.clone()) for name, value in net.state_dict().items()}
    assert gmacs(net, (100_000, 100_000)) == 120
    assert [module.training for module in net.modules()] == [True, True, False, True, True]
    for name, value in net.state_dict().items():
        place, number = before[name]
        assert (value.device.type, value.data_ptr()) == ("cpu", place)
        assert torch.equal(value, number)


def test_training_goes_on_after_a_count_that_failed():
    net = nn.Sequential(nn.Conv2d(3, 4, 5))
    with pytest.raises(RuntimeError):
        macs(net, (2, 2))
    assert net.training


# ---- the network of the paper


@cache
def counts(size: tuple[int, int], classes: int, elementwise: bool = False) -> tuple[SegNet, dict[str, float]]:
    net = routing.build(routing.Config(), classes)
    return net, macs(net, size, elementwise=elementwise)


def by_part(size: tuple[int, int], classes: int) -> dict[str, float]:
    """10^9 operations as Li et al. count them: without convolutions and gate of the initial cell, and with a ReLU for
    each path into another layer, where ours is one for each cell, before its paths part."""
    net, found = counts(size, classes, elementwise=True)
    layers = encoder_of(net).layers
    places = [
        (f"blocks.0.layers.{i}.{j}", i, j, cell) for i, layer in enumerate(layers) for j, cell in enumerate(layer)
    ]
    numbers = {name: cell.op[0].in_channels * (size[0] >> 2 + j) * (size[1] >> 2 + j) for name, _, j, cell in places}
    relus = sum(numbers[name] * len(cell.paths) for name, i, _, cell in places if i < len(layers) - 1)
    first, *later = numbers
    parts = {
        "stem": found["blocks.0.stem"],
        "cells": sum(found[f"{name}.op"] for name in later),
        "gates": sum(found[f"{name}.gate"] for name in later),
        "paths": sum(found.get(f"{name}.{path}", 0) for name in numbers for path in ("up", "down")) + relus,
        "decoder": found["head"],
    }
    left_out = found[f"{first}.op"] + found[f"{first}.gate"]
    assert sum(parts.values()) == found[""] - left_out - sum(numbers.values()) + relus
    return {name: value / 1e9 for name, value in parts.items()}


def test_convolutions_of_the_paper_s_network():
    _, found = counts((1024, 2048), 19)
    assert found[""] / 1e9 == pytest.approx(117.91, abs=0.005)
    assert found["head"] + found["blocks.0"] == found[""]


def test_the_authors_count_at_cityscapes_size():
    """Their 118.09 G, in parts; the decoder is 1.41 there, for its width is taken for its height."""
    parts = by_part((1024, 2048), 19)
    expected = {"stem": 4.19, "cells": 71.19, "gates": 16.87, "paths": 24.43, "decoder": 2.81}
    assert parts == pytest.approx(expected, abs=0.01)
    assert sum(parts.values()) == pytest.approx(119.5, abs=0.1)
    assert sum(parts.values()) - parts["decoder"] / 2 == pytest.approx(118.09, abs=0.1)


def test_the_authors_count_at_voc_size():
    """14.96 G; the image is a square, and so the decoder is whole."""
    assert sum(by_part((512, 512), 21).values()) == pytest.approx(14.96, abs=0.02)


def test_a_cell_costs_about_as_much_on_any_level():
    """Half the size and twice the channels: a 1x1 convolution keeps its cost, a depthwise 3x3 has half."""
    _, found = counts((1024, 2048), 19)
    ops = [found[f"blocks.0.layers.8.{level}.op"] for level in range(LEVELS)]
    sizes = [(64 * 2**level, 256 * 512 / 4**level) for level in range(LEVELS)]
    assert ops == [2 * (9 * channels + channels**2) * pixels for channels, pixels in sizes]
