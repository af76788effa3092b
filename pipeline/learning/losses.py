"""Losses with one normalisation: a mean over valid pixels, and 0 over none."""

import torch
from torch import Tensor
from torch.nn import functional as F

from fewmask.core.masks import IGNORE
from fewmask.learning.learner import PixelCounts

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


def binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over all scores; logits and target (of 0..1) have one shape."""
    return F.binary_cross_entropy_with_logits(logits, target)


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


def ohem_cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor | None = None, *, threshold: float = 0.7, kept: int = 50_000
) -> Tensor:
    """Cross-entropy of hard pixels alone: online hard example mining (Shrivastava et al., CVPR 2016), for pixels.

    A valid pixel counts if the probability of its class is at most ``threshold``, or among the ``kept`` lowest of each
    image, over the batch together: no fewer than that count.

    Args:
        logits, target, weight: as in ``cross_entropy``.
    """
    return cross_entropy(logits, hard(logits.detach(), target, threshold, kept), weight)


def hard(logits: Tensor, target: Tensor, threshold: float, kept: int) -> Tensor:
    """The target (B, H, W), 255 where a pixel is neither hard nor one of ``kept`` times B."""
    valid = target != IGNORE
    own = logits.float().softmax(1).gather(1, target.masked_fill(~valid, 0)[:, None])[:, 0]
    own = own.masked_fill(~valid, 2.0)
    least = own.flatten().topk(min(kept * len(own), own.numel()), largest=False).values[-1]
    return target.masked_fill(own > least.clamp_min(threshold), IGNORE)
