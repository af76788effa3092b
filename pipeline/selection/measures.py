"""How good are the pixels a threshold keeps? The auxiliary-network paper's Tables 3 and 4, for every threshold.

Everything follows from one histogram over held-out labelled images: pixels by true class (void included), predicted
class and confidence code. numpy only, so that the filter stage starts without torch.
"""

from dataclasses import dataclass

import numpy as np

from fewmask.core.masks import IGNORE
from fewmask.scoring.overlap import iou


@dataclass(frozen=True)
class Selection:
    """What a threshold keeps; NaN where undefined.

    ``miou`` and ``iou`` (C,) of the kept pixels; ``semi_ratio`` (C,): kept share of each true class; ``selected``: kept
    share of all pixels, void included in both; ``accuracy``: share of the kept pixels with a true label that are right.
    """

    miou: float
    iou: np.ndarray
    semi_ratio: np.ndarray
    selected: float
    accuracy: float

    @property
    def average_semi_ratio(self) -> float:
        """Unweighted mean over the classes that occur."""
        return _mean(self.semi_ratio)


def joint_histogram(truth: np.ndarray, label: np.ndarray, code: np.ndarray, classes: int) -> np.ndarray:
    """Pixels by (true class or void = C, predicted class, code): (C + 1, C, 256) int64; those predicted 255 not."""
    rows = np.minimum(truth, classes).astype(np.int32)
    joint = (rows * classes + label) << 8 | code
    joint = joint[label != IGNORE]
    return np.bincount(joint, minlength=(classes + 1) * classes * 256).reshape(classes + 1, classes, 256)


def select(histogram: np.ndarray, minimum: np.ndarray) -> Selection:
    """Measure what is kept when pixels predicted c need a code of at least ``minimum[c]`` (C,), 256 = none."""
    passes = np.arange(256) >= minimum[:, None]
    kept = (histogram * passes).sum(-1)  # (C + 1, C)
    everything = histogram.sum(-1)
    matrix, truth = kept[:-1], everything[:-1].sum(1)
    ratio = np.divide(matrix.sum(1), truth, out=np.full(len(truth), np.nan), where=truth > 0)
    values = np.where(truth > 0, iou(matrix), np.nan)
    right = np.trace(matrix) / matrix.sum() if matrix.sum() else np.nan
    share = kept.sum() / everything.sum() if everything.sum() else np.nan
    return Selection(_mean(values), values, ratio, float(share), float(right))


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
