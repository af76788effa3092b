"""Which ways the images of a data set take through a routing network."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fewmask.nets.base.segnet import Levels
from fewmask.nets.routing.cells import PATHS
from fewmask.nets.routing.routing import encoder_of


@contextmanager
def recorded(net: nn.Module) -> Iterator[list[Tensor]]:
    """The gates (b, cells, 3), on the CPU, of each batch that ``net`` sees in the block; none if it has no gates."""
    seen: list[Tensor] = []
    encoder = encoder_of(net)
    if encoder is None:
        yield seen
        return

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Levels) -> None:
        seen.append(output.gates.cpu())

    handle = encoder.register_forward_hook(note)
    try:
        yield seen
    finally:
        handle.remove()


def rows(net: nn.Module, gates: Tensor) -> list[dict[str, Any]]:
    """Rows layer, level, keep, up, down, open: of each cell the mean of its gates (N, cells, 3) over the images, None
    where it has no such path, and the share of images for which any of them was open. Layer 0 is the initial cell."""
    encoder = encoder_of(net)
    assert encoder is not None, "gates come from a routing network"
    places = [(layer, level) for layer, cells in enumerate(encoder.layers) for level in range(len(cells))]  # type: ignore[arg-type]
    means, active = gates.double().mean(0), (gates > 0).any(2).double().mean(0)
    table = []
    for number, ((layer, level), cell) in enumerate(zip(places, encoder.cells(), strict=True)):
        each = {path: means[number, k].item() if path in cell.paths else None for k, path in enumerate(PATHS)}
        table.append({"layer": layer, "level": level, **each, "open": active[number].item()})
    return table


def gates_of_all(seen: list[Tensor]) -> Tensor | None:
    """The gates of all batches, (N, cells, 3); None where there were none."""
    return torch.cat(seen) if seen else None
