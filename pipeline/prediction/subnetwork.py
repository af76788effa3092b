"""A fixed network out of a routing network: the paths that images took in the mean, with their weights."""

from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from fewmask.core.errors import ConfigError
from fewmask.nets.base.segnet import SegNet
from fewmask.nets.routing.cells import PATHS
from fewmask.nets.routing.routing import Config, Encoder, Grid, build, encoder_of, full_grid, text_of

STEPS = dict(zip(PATHS, (0, -1, 1), strict=True))


def open_paths(layers: int, means: Tensor, below: float) -> Grid:
    """The paths whose mean gate (cells, 3) is not ``below`` that, of the cells that something arrives at.

    A cell without an open path hands its input on. What nothing arrives at is left out with all its paths.
    """
    chosen, place, arriving = [], 0, {0}
    for layer in full_grid(layers):
        kept: list[list[str]] = []
        for level, paths in enumerate(layer):
            opened = [path for path in paths if means[place, PATHS.index(path)] >= below]
            kept.append(opened if level in arriving else [])
            place += 1
        arriving = {level + STEPS[path] for level in arriving for path in kept[level] or ["keep"]}
        chosen.append(kept)
    return chosen


def require_gates(network: dict[str, Any]) -> None:
    """Refuse the section of a network without gates.

    Raises:
        ConfigError: with what it is.
    """
    if network["name"] != "routing" or network.get("paths") is not None:
        found = f"the network '{network['name']}'" + (" with fixed paths" if network["name"] == "routing" else "")
        raise ConfigError(f"--model: holds {found}, which has no gates; expected a routing network. Name another file.")


def fixed(net: SegNet, network: dict[str, Any], means: Tensor, below: float) -> tuple[dict[str, Any], SegNet]:
    """The section and the network, in evaluation mode, with the mean gates for factors.

    Args:
        network: the section that ``net``, a routing network, was built from.
        means: mean gates (cells, 3).

    Raises:
        ConfigError: the network has no gates, or ``below`` closes every path that images would take.
    """
    require_gates(network)
    chosen = open_paths(network["layers"], means, below)
    if not any(path for layer in chosen for cell in layer for path in cell):
        finest = [0, *accumulate(len(layer) for layer in chosen[:-1])]  # the cells that images stay in
        highest = means[finest].max().item()
        raise ConfigError(
            f"--below: found {below}, and no mean gate is as high ({highest:.2f} at most); expected less. Lower it."
        )
    section = {**network, "paths": [text_of(layer) for layer in chosen], "weights": None}
    made = build(Config.model_validate(section), net.head.classify.out_channels)  # type: ignore[union-attr, arg-type]
    own = made.state_dict()
    made.load_state_dict({name: tensor for name, tensor in net.state_dict().items() if name in own}, strict=False)
    _set_factors(made, means)
    return section, made.eval()


@torch.no_grad()
def _set_factors(net: SegNet, means: Tensor) -> None:
    encoder = encoder_of(net)
    assert isinstance(encoder, Encoder)
    for place, cell in enumerate(encoder.cells()):
        if cell.paths:
            cell.gate.factors.copy_(means[place, [PATHS.index(path) for path in cell.paths]])  # type: ignore[operator]
