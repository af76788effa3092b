"""How far a difference between a method and its control may be due to the images and seeds that were drawn."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from fewmask.scoring.overlap import iou, mean_over_present

ROUNDS = 2000
LEVEL = 95.0


def matrices(table: str) -> np.ndarray:
    """details/images.csv -> the confusion matrix of each image, (N, C, C) int64, classes and images sorted by name."""
    rows = list(csv.DictReader(io.StringIO(table)))
    classes = sorted({row[key] for row in rows for key in ("actual", "predicted")})
    images = sorted({row["image"] for row in rows})
    found = np.zeros((len(images), len(classes), len(classes)), np.int64)
    place, of = ({name: number for number, name in enumerate(names)} for names in (images, classes))
    for row in rows:
        found[place[row["image"]], of[row["actual"]], of[row["predicted"]]] += int(row["pixels"])
    return found


def miou(confusions: np.ndarray) -> float:
    """Of images (N, C, C) together."""
    whole = confusions.sum(0)
    return mean_over_present(iou(whole), whole) or 0.0


def interval(method: Sequence[np.ndarray], control: Sequence[np.ndarray], rounds: int = ROUNDS) -> dict[str, Any]:
    """The mean difference in mIoU over the seeds, and the middle 95 % of what resampling makes of it.

    Each round draws seeds with replacement, and within a seed its images, the same for both sides (a paired, two-level
    percentile bootstrap; Efron and Tibshirani 1993). ``method`` and ``control`` have (N, C, C) a seed.
    """
    rng = np.random.default_rng(0)
    differences = []
    for _ in range(rounds):
        drawn = []
        for seed in rng.integers(len(method), size=len(method)):
            images = rng.integers(len(method[seed]), size=len(method[seed]))
            drawn.append(miou(method[seed][images]) - miou(control[seed][images]))
        differences.append(float(np.mean(drawn)))
    rest = (100 - LEVEL) / 2
    low, high = np.percentile(differences, [rest, 100 - rest]).tolist()
    mean = float(np.mean([miou(a) - miou(b) for a, b in zip(method, control, strict=True)]))
    return {"mean": mean, "low": low, "high": high, "level": LEVEL, "rounds": rounds}
