"""A fixed network out of a routing network: which paths stay, their weights and factors, and who is refused."""

import copy

import pytest
import torch
from torch import Tensor

from fewmask.core.errors import ConfigError
from fewmask.costs.macs import gmacs
from fewmask.nets.base.segnet import SegNet
from fewmask.nets.dsnet import dsnet
from fewmask.nets.routing.cells import PATHS
from fewmask.nets.routing.routing import Config, build, encoder_of, full_grid, text_of
from fewmask.prediction.subnetwork import fixed, open_paths

SMALL = Config(layers=3, channels=4)
SECTION = SMALL.model_dump()
GRID = [paths for layer in full_grid(3) for paths in layer]
ABLE = torch.tensor([[path in paths for path in PATHS] for paths in GRID])
SIZE = (32, 64)


def means_of(**closed: str) -> Tensor:
    """(10, 3) gates of 0.5 but for those named: ``c0="d"`` closes the first cell's way down."""
    means = 0.5 * ABLE
    for cell, letters in closed.items():
        for path in PATHS:
            if path[0] in letters:
                means[int(cell[1:]), PATHS.index(path)] = 0
    return means


def texts(means: Tensor, below: float = 0.1) -> list[str]:
    return [text_of(layer) for layer in open_paths(3, means, below)]


@pytest.fixture
def net() -> SegNet:
    """Its batch norms have seen something."""
    torch.manual_seed(0)
    made = build(SMALL, 3).train()
    with torch.no_grad():
        made(torch.randn(4, 3, *SIZE))
    return made.eval()


@pytest.fixture
def means() -> Tensor:
    """Another for each path, 0.1 to 0.9."""
    torch.manual_seed(1)
    return ABLE * (0.1 + 0.8 * torch.rand(10, 3))


def constant(net: SegNet, gates: Tensor) -> SegNet:
    """A copy whose gates do not look: (cells, 3) for every image."""
    made = copy.deepcopy(net)
    for cell, row in zip(encoder_of(made).cells(), gates, strict=True):
        kept = row[[PATHS.index(path) for path in cell.paths]]
        cell.gate.forward = lambda x, kept=kept: kept.expand(len(x), -1)
    return made


def images() -> Tensor:
    return torch.randn(3, 3, *SIZE, generator=torch.Generator().manual_seed(2))


# ---- which paths stay


def test_all_open_is_the_whole_grid():
    assert open_paths(3, means_of(), 0.1) == full_grid(3)


def test_what_nothing_arrives_at_is_left_out():
    """Without the first way down, level 1 begins in layer 2 and level 2 in layer 3; nothing reaches the deepest."""
    assert texts(means_of(c0="d")) == ["k", "kd -", "kd kud -", "k k k -"]


def test_a_level_that_nothing_keeps_is_left_out_where_it_ends():
    """Cells 1 and 3, the finest of layers 1 and 2, go down alone, and nothing goes up."""
    assert texts(means_of(c0="k", c2="u", c4="u", c5="u")) == ["d", "- kd", "- kd kd", "- k k k"]


def test_a_cell_without_an_open_path_hands_on():
    """Cell 2, layer 1's second, is closed, and so is the other way to its level: what arrives goes on to layer 2."""
    assert texts(means_of(c1="d", c2="kud")) == ["kd", "k -", "kd kud -", "k k k -"]
    assert texts(means_of(c0="kd")) == ["-", "kd -", "kd kud -", "k k k -"]


def test_a_gate_that_is_just_as_high_stays():
    for value in (0.1, 0.3, 0.7):
        means = torch.full((10, 3), value)
        assert open_paths(3, means, value) == full_grid(3)
        assert not any(path for layer in open_paths(3, means, value + 1e-6) for cell in layer for path in cell)


# ---- the network


@pytest.mark.parametrize("below", [1e-3, 0.5])
def test_it_predicts_what_constant_gates_predict(net, means, below):
    """Those below the threshold, and those of cells that nothing arrives at, are 0."""
    section, made = fixed(net, SECTION, means, below)
    chosen = [paths for layer in open_paths(3, means, below) for paths in layer]
    kept = torch.tensor([[path in paths for path in PATHS] for paths in chosen])
    assert bool((kept == ABLE).all()) == (below < 0.1)
    with torch.no_grad():
        found, expected = made(images()), constant(net, means * kept)(images())
    torch.testing.assert_close(found, expected)
    assert section["paths"] == texts(means, below)
    assert not made.training


def test_weights_are_carried_over_and_the_network_is_left_as_it_was(net, means):
    before = copy.deepcopy(net.state_dict())
    _, made = fixed(net, SECTION, means, 0.5)
    carried = {name: value for name, value in made.state_dict().items() if ".gate." not in name}
    assert carried.keys() < before.keys()
    assert all(torch.equal(value, before[name]) for name, value in carried.items())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_factors_are_means(net, means):
    _, made = fixed(net, SECTION, means, 0.5)
    for cell, row in zip(encoder_of(made).cells(), means, strict=True):
        if cell.paths:
            assert cell.gate.factors.tolist() == [row[PATHS.index(path)].item() for path in cell.paths]


def test_the_section_is_one_like_any_other(net, means):
    section, made = fixed(net, {**SECTION, "weights": "gone.safetensors"}, means, 0.5)
    again = build(Config.model_validate(section), 3)
    assert again.state_dict().keys() == made.state_dict().keys()
    assert {**section, "paths": None} == SECTION


def test_it_costs_less_than_the_whole(net, means):
    """Gates cost something, even where none closes."""
    whole, open_, less = (gmacs(one, SIZE) for one in (net, *(fixed(net, SECTION, means, x)[1] for x in (1e-3, 0.5))))
    assert whole > open_ > less


# ---- who is refused


def test_a_network_without_gates_is_refused(net, means):
    plain = dsnet.Config(width=0.25, blocks=[1, 1, 1, 1])
    with pytest.raises(ConfigError, match=r"^--model: holds the network 'dsnet', which has no gates; expected"):
        fixed(dsnet.build(plain, 3), plain.model_dump(), torch.zeros(0, 3), 0.1)
    section, made = fixed(net, SECTION, means, 0.5)
    with pytest.raises(ConfigError, match=r"^--model: holds the network 'routing' with fixed paths, which has no"):
        fixed(made, section, means, 0.5)


def test_a_threshold_above_every_gate_is_refused_with_the_highest(net):
    means = means_of()
    means[3, 0] = 0.75
    with pytest.raises(ConfigError, match=r"^--below: found 0\.76, and no mean gate is as high \(0\.75 at most\)"):
        fixed(net, SECTION, means, 0.76)
    assert texts(means, 0.75) == ["-", "- -", "k - -", "- - - -"]


def test_the_highest_gate_is_one_that_something_arrives_at(net):
    """Gates of deeper cells begin open at 0.9, and stay so where nothing arrives."""
    means = 0.9 * ABLE
    means[[0, 1, 3, 6]] = 0.05
    with pytest.raises(ConfigError, match=r"^--below: found 0\.1, and no mean gate is as high \(0\.05 at most\)"):
        fixed(net, SECTION, means, 0.1)
