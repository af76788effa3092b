"""Intersection over union and accuracy from a confusion matrix (row = truth); numpy only."""

import numpy as np


def iou(matrix: np.ndarray) -> np.ndarray:
    """Intersection over union per class (C,) float64; NaN for a class that is in neither truth nor prediction."""
    right = np.diagonal(matrix, axis1=-2, axis2=-1).astype(float)
    union = matrix.sum(-1) + matrix.sum(-2) - right
    return np.divide(right, union, out=np.full(right.shape, np.nan), where=union > 0)


def accuracy(matrix: np.ndarray) -> np.ndarray:
    """Share of each true class's pixels that are right (C,) float64; NaN for a class that is not in the truth."""
    right, true = np.diagonal(matrix, axis1=-2, axis2=-1).astype(float), matrix.sum(-1)
    return np.divide(right, true, out=np.full(right.shape, np.nan), where=true > 0)


def mean_over_present(values: np.ndarray, matrix: np.ndarray) -> float | None:
    """Mean of ``values`` (C,) over the classes that occur in the truth; None where there is none."""
    present = matrix.sum(-1) > 0
    return float(np.nanmean(values[present])) if present.any() and not np.isnan(values[present]).all() else None
