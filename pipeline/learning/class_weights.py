"""Weights against the imbalance of classes: W_k = 1 / ln(c + p_k) (Paszke et al. 2016, "ENet").

p_k has void in its denominator, as in the code of that paper. Weights are those of the true masks alone, and are
computed once, before training.
"""

from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from fewmask.core.masks import IGNORE
from fewmask.learning.config import FitConfig
from fewmask.learning.learner import LabelledData, PixelCounts

Share = Literal["global", "present"]


class ClassWeightsConfig(FitConfig):
    """``weight_c`` is c of W_k; null weighs all classes alike."""

    weight_c: float | None = Field(default=None, gt=1)


class ClassShareConfig(ClassWeightsConfig):
    """``share`` says what p_k is a share of: all pixels, or those of the images in which the class occurs."""

    share: Share = "global"


def count_pixels(masks: np.ndarray, classes: int) -> PixelCounts:
    """Pixel counts of masks (N, H, W) uint8, void included in the totals."""
    rows = np.array([np.bincount(mask.ravel(), minlength=IGNORE + 1)[:classes] for mask in masks], np.int64)
    rows = rows.reshape(-1, classes)
    pixels = int(np.prod(masks.shape[1:]))
    return PixelCounts(rows.sum(0), pixels * len(masks), (rows > 0).sum(0) * pixels)


def class_share(counts: PixelCounts, share: Share) -> Tensor:
    """p_k (C,) float32: of all pixels, void included; or of the pixels of the images in which the class occurs."""
    total = counts.total if share == "global" else counts.where_present.clip(min=1)
    return torch.from_numpy(counts.per_class / total).float()


def class_weights(share: Tensor, c: float) -> Tensor:
    """W_k (C,) of p_k (C,), the share of class k among all pixels; 0 for an absent class."""
    return torch.where(share > 0, 1 / torch.log(c + share), 0.0)


def fill_class_weights(weights: Tensor, data: LabelledData, c: float | None, share: Share = "global") -> None:
    """Overwrite ``weights`` (C,) by W_k of the labelled masks; where ``c`` is None they stay what they are, all 1."""
    if c is not None:
        weights.copy_(class_weights(class_share(data.counts, share), c))
