"""Losses with one normalisation: a mean over valid pixels, and 0 over none."""

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.learning.learner import PixelCounts

IGNORE = 255
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
    return total / valid_weight(target.flatten(), weight).clamp_min(EPS)


def valid_weight(target: Tensor, weight: Tensor | None) -> Tensor:
    """Sum of the class weights (or the count) of the valid pixels; scalar float."""
    valid = target != IGNORE
    if weight is None:
        return valid.sum().float()
    return (weight[target.masked_fill(~valid, 0)] * valid).sum()


def class_weights(share: Tensor, c: float) -> Tensor:
    """W_k = 1 / ln(c + p_k) (Paszke et al. 2016), and 0 for an absent class.

    Args:
        share: p_k (C,), the share of class k among all pixels, void included.
    """
    return torch.where(share > 0, 1 / torch.log(c + share), 0.0)


def class_share(counts: PixelCounts, share: str) -> Tensor:
    """p_k (C,) float32: of all pixels, void included; or of the pixels of the images in which the class occurs."""
    total = counts.total if share == "global" else counts.where_present.clip(min=1)
    return torch.from_numpy(counts.per_class / total).float()
