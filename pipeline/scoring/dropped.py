"""Score a fused prediction: pixel thresholds chosen on the validation images, and a table of what was dropped."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewmask.core.progress import Progress
from fewmask.prediction.fusion import FusedPredictor, FusionConfig, kept, masked, pixel_counts, require_validation
from fewmask.prediction.predictor import BATCH
from fewmask.scoring.confusion import confusion
from fewmask.scoring.overlap import iou, mean_over_present
from fewmask.stores.images import Images


class Recorder(FusedPredictor):
    """A fused predictor by any rule that keeps the scores and kept classes of every image it predicts, in order."""

    def __init__(self, model: Path, tagger: Path, config: FusionConfig, device: torch.device | str = "cpu"):
        super().__init__(model, tagger, config.tau, device)
        self.config = config
        self.decisions: list[tuple[np.ndarray, np.ndarray]] = []

    def choose(self, images: Images, validation: Sequence[str]) -> None:
        """Choose what the rule leaves to the validation images: its pixel thresholds, if it is one of pixels."""
        if self.config.rule != "scores":
            self.pixels = chosen_pixels(self, images, validation, self.config)

    def decide(self, images: np.ndarray, logits: Tensor) -> tuple[Tensor, Tensor]:
        scores, keeps = super().decide(images, logits)
        self.decisions += zip(scores.cpu().numpy(), keeps.cpu().numpy(), strict=True)
        return scores, keeps

    def table(self, images: Images, names: Sequence[str]) -> list[dict[str, Any]]:
        """``rows`` over ``names``, the predicted images; no threshold drops the background."""
        classes = range(len(images.class_names))
        chosen = [self.tau for _ in classes] if self.pixels is None else self.pixels.tolist()
        thresholds = [None if number == self.background else chosen[number] for number in classes]
        scores, keeps = (np.stack(part) for part in zip(*self.decisions, strict=True))
        present = np.stack([np.isin(classes, images.mask(name)) for name in names])
        return rows(images.class_names, thresholds, scores, keeps, present)


def rows(
    class_names: Sequence[str],
    thresholds: Sequence[float | None],
    scores: np.ndarray,
    keeps: np.ndarray,
    present: np.ndarray,
) -> list[dict[str, Any]]:
    """Rows class, threshold, images, dropped, wrongly_dropped, average_precision.

    Args:
        class_names, thresholds: C of each.
        scores: (N, C) float, by which the images are ranked.
        keeps, present: (N, C) bool, the kept and the true classes of each image.
    """
    columns = zip(class_names, thresholds, scores.T, keeps.T, present.T, strict=True)
    return [
        {
            "class": name,
            "threshold": threshold,
            "images": true.sum(),
            "dropped": (~keep).sum(),
            "wrongly_dropped": (true & ~keep).sum(),
            "average_precision": average_precision(score, true),
        }
        for name, threshold, score, keep, true in columns
    ]


def average_precision(scores: np.ndarray, present: np.ndarray) -> float | None:
    """Mean, over the images that have a class, of the precision among the images that score no less; None without any.

    Args:
        scores: (N,) float.
        present: (N,) bool.
    """
    positive = np.sort(scores[present])
    if not len(positive):
        return None
    hits = len(positive) - np.searchsorted(positive, positive)
    images = len(scores) - np.searchsorted(np.sort(scores), positive)
    return float((hits / images).mean())


def chosen_pixels(predictor: FusedPredictor, images: Images, names: Sequence[str], config: FusionConfig) -> Tensor:
    """The least number of predicted pixels of each class (C,) int64 that gives the best mIoU on ``names``; 0: any.

    One for all classes; or with ``pixels_per_class`` one for each, chosen with no threshold on the others. Of equally
    good ones it is the lowest.

    Raises:
        ConfigError: no labelled pixel.
    """
    classes = len(images.class_names)
    candidates = torch.tensor(sorted({0, *config.pixels}), device=predictor.device)
    each = torch.eye(classes, dtype=torch.int64, device=predictor.device)
    patterns = each if config.rule == "pixels_per_class" else torch.ones_like(each[:1])
    minima = candidates[:, None, None] * patterns  # (T, P, C)
    totals = summed_outcomes(predictor, images, names, minima.flatten(0, 1))
    require_validation(config.rule, bool(totals.any()))
    quality = np.array([mean_over_present(iou(matrix), matrix) for matrix in totals.numpy()])
    best = torch.from_numpy(quality.reshape(minima.shape[:2]).argmax(0)).to(candidates.device)  # the first of equals
    return candidates[best].expand(classes)


def summed_outcomes(predictor: FusedPredictor, images: Images, names: Sequence[str], minima: Tensor) -> Tensor:
    """``outcomes`` (K, C, C) summed over ``names``, which are predicted once."""
    classes = minima.shape[1]
    totals = torch.zeros(len(minima), classes, classes, dtype=torch.int64)
    with Progress("thresholds", len(names), "image") as progress:
        for first in range(0, len(names), BATCH):
            part = names[first : first + BATCH]
            logits = predictor.logits(images.stack(part))
            truth = torch.from_numpy(images.stack(part, "mask")).to(logits.device)
            for one, mask in zip(logits, truth, strict=True):
                totals += outcomes(one, mask, minima, predictor.background)
            progress.show(first + len(part))
    return totals


def outcomes(logits: Tensor, truth: Tensor, minima: Tensor, background: int | None) -> Tensor:
    """Confusion matrices of one image under each of K rows of pixel thresholds.

    Args:
        logits: (C, H, W).
        truth: (H, W) uint8; ids >= C are void.
        minima: (K, C) int64.
        background: the class that is never dropped.

    Returns:
        (K, C, C) int64 on the CPU, row = truth; computed once for all rows that keep the same classes.
    """
    counts = pixel_counts(logits[None])
    keeps = kept(counts.expand(minima.shape), minima - 1, background)
    keeps[~(~keeps & (counts > 0)).any(1)] = True  # to drop what wins nowhere changes nothing
    distinct, place = keeps.unique(dim=0, return_inverse=True)
    labels = (masked(logits[None], row[None])[0].argmax(0).to(torch.uint8) for row in distinct)
    matrices = torch.stack([confusion(truth, label, len(logits)) for label in labels])
    return matrices[place].cpu()
