"""Confusion matrices and overlap, against loops and by hand."""

import numpy as np
import pytest
import torch

from fewmask.scoring.confusion import confusion
from fewmask.scoring.overlap import accuracy, iou, mean_over_present


def naive(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    matrix = np.zeros((classes, classes), np.int64)
    for true, found in zip(truth.ravel(), predicted.ravel(), strict=True):
        if true < classes:
            matrix[true, found] += 1
    return matrix


@pytest.mark.parametrize("width", [1, 3, 8, 13])
@pytest.mark.parametrize("classes", [2, 3, 11, 19, 60, 89, 90, 91, 180, 181, 255])
def test_it_counts_as_a_loop_would(classes: int, width: int) -> None:
    """Void pixels are 255 or any other id past the classes; 90|91 and 180|181 are where the narrow codes change."""
    rng = np.random.default_rng(classes * width)
    truth = rng.integers(0, classes, (2, 7, width)).astype(np.uint8)
    truth[rng.random(truth.shape) < 0.2] = 255
    truth[0, 0, 0] = classes
    predicted = rng.integers(0, classes, truth.shape).astype(np.uint8)
    truth[1, 6], predicted[1, 6] = classes - 1, classes - 1
    found = confusion(torch.from_numpy(truth), torch.from_numpy(predicted), classes)
    assert found.dtype == torch.int64
    assert (found.numpy() == naive(truth, predicted, classes)).all()


def test_inputs_are_left_as_they_were() -> None:
    truth, predicted = torch.tensor([[0, 255, 1]], dtype=torch.uint8), torch.tensor([[1, 1, 0]], dtype=torch.uint8)
    confusion(truth, predicted, 2)
    assert truth.tolist() == [[0, 255, 1]]
    assert predicted.tolist() == [[1, 1, 0]]


def test_all_void_is_all_zero() -> None:
    truth = torch.full((1, 5, 5), 255, dtype=torch.uint8)
    assert confusion(truth, torch.zeros_like(truth), 4).sum() == 0


def test_overlap_by_hand() -> None:
    """Rows are the truth.

    3 1 0      IoU 0: 3 / (4 + 5 - 3) = 1/2      accuracy 3/4
    2 4 0      IoU 1: 4 / (6 + 5 - 4) = 4/7      accuracy 4/6
    0 0 0      class 2 is nowhere: undefined, and left out of the mean
    """
    matrix = np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]])
    assert np.allclose(iou(matrix), [1 / 2, 4 / 7, np.nan], equal_nan=True)
    assert np.allclose(accuracy(matrix), [3 / 4, 4 / 6, np.nan], equal_nan=True)
    assert mean_over_present(iou(matrix), matrix) == pytest.approx((1 / 2 + 4 / 7) / 2)


def test_a_class_that_is_only_predicted_has_iou_0_and_does_not_count() -> None:
    """Truth is all class 0, one of four pixels predicted 1: IoU 3/4 and 0; the mean is over class 0 alone."""
    matrix = np.array([[3, 1], [0, 0]])
    assert iou(matrix).tolist() == [0.75, 0]
    assert mean_over_present(iou(matrix), matrix) == 0.75


def test_over_no_pixel_there_is_no_mean() -> None:
    matrix = np.zeros((3, 3), int)
    assert mean_over_present(iou(matrix), matrix) is None


def test_several_matrices_at_once() -> None:
    matrices = np.random.default_rng(0).integers(1, 9, (4, 3, 3))
    assert np.allclose(iou(matrices), [iou(matrix) for matrix in matrices])
    assert np.allclose(accuracy(matrices), [accuracy(matrix) for matrix in matrices])
