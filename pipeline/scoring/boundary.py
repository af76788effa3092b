"""Boundary IoU (Cheng et al. 2021): the IoU of the rims of the segments, which small errors at edges do change."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def rim(labels: Tensor, width: int) -> Tensor:
    """Pixels within ``width`` (square window) of another label or the image's border; (B, H, W) uint8 -> bool."""
    padded = F.pad(labels.float()[:, None], [width] * 4, value=-1.0)
    window = 2 * width + 1
    largest = F.max_pool2d(padded, window, stride=1)
    smallest = -F.max_pool2d(-padded, window, stride=1)
    return (largest != smallest)[:, 0]


def rim_width(size: tuple[int, int], share: float) -> int:
    """``share`` of the image diagonal in whole pixels, at least 1 (the authors take 0.02)."""
    return max(1, round(share * math.hypot(*size)))


def rim_counts(truth: Tensor, predicted: Tensor, classes: int, width: int) -> Tensor:
    """Intersections and unions of the rims per class, void pixels left out.

    Args:
        truth, predicted: (B, H, W) uint8; ids >= ``classes`` in the truth are void.

    Returns:
        (2, C) int64.
    """
    valid = truth < classes
    true, found = rim(truth, width) & valid, rim(predicted, width) & valid
    both = true & found & (truth == predicted)
    counts = [
        torch.bincount(ids[where].long(), minlength=classes) for ids, where in ((truth, true), (predicted, found))
    ]
    shared = torch.bincount(truth[both].long(), minlength=classes)
    return torch.stack([shared, counts[0] + counts[1] - shared])
