"""Losses with one normalisation: a mean over valid pixels, and 0 over none."""

import torch
from torch import Tensor
from torch.nn import functional as F

from fewmask.core.masks import IGNORE

EPS = 1e-12


def cross_entropy(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean cross-entropy over valid pixels; with class weights, the weighted mean (divided by the sum of weights).

    The softmax runs over the maps (four times faster than over pixels in rows); only then are pixels flattened: the
    two-dimensional likelihood has no deterministic form on CUDA.

    Args:
        logits: (B, C, H, W).
        target: (B, H, W) int64, 255 = ignore.
        weight: (C,) or None.
    """
    logs = logits.float().log_softmax(1).permute(0, 2, 3, 1).flatten(0, 2)  # (B H W, C)
    total = F.nll_loss(logs, target.flatten(), weight, ignore_index=IGNORE, reduction="sum")
    return _over(total, valid_weight(target.flatten(), weight))


def binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over all scores; logits and target (of 0..1) have one shape."""
    return F.binary_cross_entropy_with_logits(logits, target)


def mean_of_valid(each: Tensor, target: Tensor) -> Tensor:
    """Mean over valid pixels of ``each`` (B, H, W), a loss a pixel; target (B, H, W) int64, 255 = ignore."""
    valid = target != IGNORE
    return _over(torch.where(valid, each, 0.0).sum(), valid.sum())


def valid_weight(target: Tensor, weight: Tensor | None) -> Tensor:
    """Sum of the class weights (or the count) of the valid pixels; scalar float."""
    valid = target != IGNORE
    if weight is None:
        return valid.sum().float()
    return (weight[target.masked_fill(~valid, 0)] * valid).sum()


def _over(total: Tensor, weight: Tensor) -> Tensor:
    """A sum over the valid pixels, divided by their weight or count: 0 where there is none."""
    return total / weight.clamp_min(EPS)
