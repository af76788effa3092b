"""Expected calibration error (Guo et al. 2017): how far confidence and accuracy lie apart, in equal-width bins."""

import torch
from torch import Tensor


def bin_sums(confidence: Tensor, right: Tensor, bins: int) -> Tensor:
    """Per bin of the confidence: pixels, summed confidence, right pixels; 1-D inputs -> (3, bins) float64."""
    place = (confidence * bins).long().clamp_(0, bins - 1)
    weights = torch.stack([torch.ones_like(confidence), confidence, right.to(confidence.dtype)]).double()
    return torch.zeros(3, bins, dtype=torch.float64, device=confidence.device).index_add_(1, place, weights)


def expected_error(sums: Tensor) -> float | None:
    """ECE from ``bin_sums`` (added up over images); None over no pixel."""
    pixels, confidence, right = sums
    if pixels.sum() == 0:
        return None
    return float((confidence - right).abs().sum() / pixels.sum())
