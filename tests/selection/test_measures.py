"""The measures of the auxiliary-network paper, Tables 3 and 4."""

import numpy as np
import pytest

from fewmask.scoring.overlap import iou, mean_over_present
from fewmask.selection.filter import curve, summary
from fewmask.selection.measures import joint_histogram, select
from fewmask.stores.codes import EDGES

TRUTH = np.array([[0, 0, 0, 0], [1, 1, 255, 255]], np.uint8)
LABEL = np.array([[0, 0, 1, 1], [1, 0, 1, 0]], np.uint8)
CODE = np.array([[200, 100, 200, 100], [200, 100, 200, 100]], np.uint8)


def test_a_two_class_example_by_hand() -> None:
    """Eight pixels, those with code 200 kept (each second one): truth 0 0 1 void, predicted 0 1 1 1.

    Kept matrix [[1, 1], [0, 1]]: IoU 1/2 and 1/2. Semi ratios by true class: 2 of 4, 1 of 2. Selected: 4 of 8, void
    in both. Accuracy of the kept labelled pixels: 2 of 3.
    """
    found = select(joint_histogram(TRUTH, LABEL, CODE, 2), np.array([150, 150]))
    assert found.iou.tolist() == [0.5, 0.5]
    assert found.miou == 0.5
    assert found.semi_ratio.tolist() == [0.5, 0.5]
    assert found.average_semi_ratio == 0.5
    assert found.selected == 0.5
    assert found.accuracy == pytest.approx(2 / 3)


def test_thresholds_are_looked_up_by_predicted_class() -> None:
    """Class 1 keeps all, class 0 only code 200: kept are (0,0) (0,1) (0,1) (1,1) (void,1): 5 of 8."""
    found = select(joint_histogram(TRUTH, LABEL, CODE, 2), np.array([150, 0]))
    assert found.selected == 5 / 8
    assert found.semi_ratio.tolist() == [3 / 4, 1 / 2]
    assert found.iou.tolist() == [1 / 3, 1 / 3]


@pytest.fixture
def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth with void and without class 3, a prediction that is right where it is sure."""
    rng = np.random.default_rng(0)
    truth = rng.choice([0, 0, 0, 1, 2, 255], (40, 50)).astype(np.uint8)
    code = rng.integers(0, 256, truth.shape).astype(np.uint8)
    wrong = rng.integers(0, 256, truth.shape) > code
    label = np.where(wrong | (truth == 255), rng.integers(0, 3, truth.shape), truth).astype(np.uint8)
    return truth, label, code


def test_the_histogram_is_a_count_of_pixels(scene: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    truth, label, code = scene
    histogram = joint_histogram(truth, label, code, 4)
    assert histogram.shape == (5, 4, 256)
    assert histogram.sum() == truth.size
    for true, found, sure in ((0, 0, 255), (1, 2, 7), (255, 1, 100)):
        expected = ((truth == true) & (label == found) & (code == sure)).sum()
        assert histogram[min(true, 4), found, sure] == expected


def test_pixels_without_a_label_do_not_count(scene: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Whether the truth there is void, as on padding, or a class."""
    truth, label, code = scene
    known = np.random.default_rng(1).random(truth.shape) < 0.5
    expected = joint_histogram(truth[known], label[known], code[known], 4)
    assert (joint_histogram(truth, np.where(known, label, np.uint8(255)), code, 4) == expected).all()
    assert joint_histogram(truth, np.full_like(label, 255), code, 4).sum() == 0


def test_keeping_all_is_the_plain_evaluation(scene: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    truth, label, code = scene
    found = select(joint_histogram(truth, label, code, 4), np.zeros(4, int))
    valid = truth != 255
    matrix = np.histogram2d(truth[valid], label[valid], bins=range(5))[0].astype(int)
    assert found.miou == pytest.approx(mean_over_present(iou(matrix), matrix))
    assert found.selected == 1
    assert found.semi_ratio.tolist()[:3] == [1, 1, 1]
    assert found.accuracy == pytest.approx((truth == label)[valid].mean())


def test_a_class_without_truth_is_left_out(scene: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    truth, label, code = scene
    label = label.copy()
    label[0, :5] = 3
    found = select(joint_histogram(truth, label, code, 4), np.zeros(4, int))
    assert np.isnan(found.iou[3])
    assert np.isnan(found.semi_ratio[3])
    assert found.average_semi_ratio == 1


def test_keeping_none_is_measured_without_a_warning(scene: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    found = select(joint_histogram(*scene, 4), np.full(4, 256))
    assert (found.selected, found.average_semi_ratio) == (0, 0)
    assert np.isnan([found.miou, found.accuracy]).all()


def test_no_held_out_image_is_measured_without_a_warning() -> None:
    found = select(np.zeros((3, 2, 256), np.int64), np.zeros(2, int))
    assert np.isnan([found.miou, found.accuracy, found.selected, found.average_semi_ratio]).all()


def test_the_curve_runs_from_all_to_none(scene: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """257 rows; more is asked, less is kept; and where confidence means something, the kept are better."""
    histogram = joint_histogram(*scene, 4)
    rows = curve(histogram, EDGES)
    assert len(rows) == 257
    assert (rows[0]["threshold"], rows[256]["threshold"]) == (0, 1)
    assert rows[0] == {"threshold": 0.0, **summary(select(histogram, np.zeros(4, int)))}
    for name in ("selected_pixels", "average_semi_ratio"):
        values = np.array([row[name] for row in rows])
        assert (np.diff(values) <= 0).all()
        assert (values[0], values[256]) == (1, 0)
    assert (np.diff([row["threshold"] for row in rows]) > 0).all()
    assert rows[0]["miou"] < rows[128]["miou"] < rows[240]["miou"]
