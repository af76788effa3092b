"""The thresholds of a fusion: the paper's tau, or numbers of pixels that are chosen on the validation images."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from fewmask.core.errors import ConfigError
from fewmask.core.params import Section
from fewmask.core.progress import Progress
from fewmask.fusion.fused import Thresholds, kept, masked, pixel_counts
from fewmask.prediction.predictor import BATCH, Predictor
from fewmask.scoring.confusion import confusion
from fewmask.scoring.overlap import iou, mean_over_present
from fewmask.stores.images import BACKGROUND, Images


class FusionConfig(Section):
    """``rule`` says by what a class is dropped from an image: its tagger's score (eq. 7), or its predicted pixels.

    ``tau`` is the threshold on scores. ``pixels``, and 0, are those to choose from on the validation images: one for
    all classes, or one for each.
    """

    rule: Literal["scores", "pixels", "pixels_per_class"] = "scores"
    tau: float = Field(default=0.2, ge=0, le=1)  # the paper's, by cross-validation
    pixels: list[Annotated[int, Field(ge=0, le=2**31)]] = Field(default=list(range(1000, 13000, 1000)), min_length=1)


def require_validation(rule: str, labelled: bool) -> None:
    """Refuse a rule whose thresholds are chosen on the validation images, where these have no ``labelled`` pixel.

    Raises:
        ConfigError: with what to set.
    """
    if rule != "scores" and not labelled:
        found = f"fusion.rule: {rule} is chosen on the validation images, which have no labelled pixel"
        raise ConfigError(f"{found}. Set rule: scores, or give the data set or split.validation some with masks.")


def choose_thresholds(predictor: Predictor, images: Images, names: Sequence[str], config: FusionConfig) -> Thresholds:
    """One for each class, the rules of pixels' chosen on ``names``; None for the background, which is never dropped.

    Raises:
        ConfigError: a rule of pixels, and no labelled pixel.
    """
    classes = images.class_names
    scores = config.rule == "scores"
    chosen = [config.tau for _ in classes] if scores else chosen_pixels(predictor, images, names, config).tolist()
    return [None if name == BACKGROUND else each for name, each in zip(classes, chosen, strict=True)]


def chosen_pixels(predictor: Predictor, images: Images, names: Sequence[str], config: FusionConfig) -> Tensor:
    """The least number of predicted pixels of each class (C,) int64 that gives the best mIoU on ``names``; 0: any.

    One for all classes; or with ``pixels_per_class`` one for each, chosen with no threshold on the others. Of equally
    good ones it is the lowest. The background has none.

    Raises:
        ConfigError: no labelled pixel.
    """
    classes = images.class_names
    candidates = torch.tensor(sorted({0, *config.pixels}), device=predictor.device)
    droppable = torch.tensor([name != BACKGROUND for name in classes], device=predictor.device).long()
    patterns = droppable.diag() if config.rule == "pixels_per_class" else droppable[None]
    minima = candidates[:, None, None] * patterns  # (T, P, C)
    totals = summed_outcomes(predictor, images, names, minima.flatten(0, 1))
    require_validation(config.rule, bool(totals.any()))
    quality = np.array([mean_over_present(iou(matrix), matrix) for matrix in totals.numpy()])
    best = torch.from_numpy(quality.reshape(minima.shape[:2]).argmax(0)).to(candidates.device)  # the first of equals
    return candidates[best].expand(len(classes))


def summed_outcomes(predictor: Predictor, images: Images, names: Sequence[str], minima: Tensor) -> Tensor:
    """``outcomes`` (K, C, C) summed over ``names``, which are predicted once."""
    classes = minima.shape[1]
    totals = torch.zeros(len(minima), classes, classes, dtype=torch.int64)
    with Progress("thresholds", len(names), "image") as progress:
        for first in range(0, len(names), BATCH):
            part = names[first : first + BATCH]
            logits = predictor.logits(images.stack(part))
            truth = torch.from_numpy(images.stack(part, "mask")).to(logits.device)
            for one, mask in zip(logits, truth, strict=True):
                totals += outcomes(one, mask, minima)
            progress.show(first + len(part))
    return totals


def outcomes(logits: Tensor, truth: Tensor, minima: Tensor) -> Tensor:
    """Confusion matrices of one image under each of K rows of pixel thresholds.

    Args:
        logits: (C, H, W).
        truth: (H, W) uint8; ids >= C are void.
        minima: (K, C) int64.

    Returns:
        (K, C, C) int64 on the CPU, row = truth; computed once for all rows that keep the same classes.
    """
    counts = pixel_counts(logits[None])
    keeps = kept(counts.expand(minima.shape), minima - 1)
    keeps[~(~keeps & (counts > 0)).any(1)] = True  # to drop what wins nowhere changes nothing
    distinct, place = keeps.unique(dim=0, return_inverse=True)
    labels = (masked(logits[None], row[None])[0].argmax(0).to(torch.uint8) for row in distinct)
    matrices = torch.stack([confusion(truth, label, len(logits)) for label in labels])
    return matrices[place].cpu()
