"""What a fused network drops from the images of a data set."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import Tensor, nn

from fewmask.fusion.fused import Fused
from fewmask.stores.images import Images

Decision = tuple[np.ndarray, np.ndarray]  # of a batch: what the thresholds are for (B, C), kept classes (B, C) bool


@contextmanager
def recorded(net: nn.Module) -> Iterator[list[Decision]]:
    """What ``net`` decides on each batch that it sees in the block; nothing if it is not a fused one."""
    seen: list[Decision] = []
    if not isinstance(net, Fused):
        yield seen
        return

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        seen.append((output[0].cpu().numpy(), output[1].cpu().numpy()))

    handle = net.rule.register_forward_hook(note)
    try:
        yield seen
    finally:
        handle.remove()


def rows(net: nn.Module, seen: list[Decision], images: Images, names: Sequence[str]) -> list[dict[str, Any]]:
    """Rows class, threshold, images, dropped, wrongly_dropped, average_precision.

    Args:
        net: a fused network.
        seen: its decisions on ``names``, in their order.
    """
    assert isinstance(net, Fused), "decisions come from a fused network"
    found, keeps = (np.concatenate(part) for part in zip(*seen, strict=True))
    present = np.stack([np.isin(range(len(images.class_names)), images.mask(name)) for name in names])
    columns = zip(images.class_names, net.rule.thresholds, found.T, keeps.T, present.T, strict=True)
    return [
        {
            "class": name,
            "threshold": threshold,
            "images": true.sum(),
            "dropped": (~keep).sum(),
            "wrongly_dropped": (true & ~keep).sum(),
            "average_precision": average_precision(values, true),
        }
        for name, threshold, values, keep, true in columns
    ]


def average_precision(scores: np.ndarray, present: np.ndarray) -> float | None:
    """Mean, over the images that have a class, of the precision among the images that score no less; None without any.

    Args:
        scores: (N,) numbers.
        present: (N,) bool.
    """
    positive = np.sort(scores[present])
    if not len(positive):
        return None
    hits = len(positive) - np.searchsorted(positive, positive)
    images = len(scores) - np.searchsorted(np.sort(scores), positive)
    return float((hits / images).mean())
