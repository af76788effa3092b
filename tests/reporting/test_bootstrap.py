"""Intervals of differences: exact where nothing varies, and as wide as what varies."""

import numpy as np
import pytest

from fewmask.core.errors import DataError
from fewmask.reporting.bootstrap import ByImage, interval


def image(right: int, wrong: int) -> np.ndarray:
    """Of two classes alike: ``right`` and ``wrong`` pixels of each."""
    return np.array([[right, wrong], [wrong, right]])


def scored(*matrices: np.ndarray) -> ByImage:
    return ByImage([f"{number:03}" for number in range(len(matrices))], np.stack(matrices))


def test_a_table_becomes_one_matrix_an_image():
    found = ByImage.read("image,actual,predicted,pixels\nb,sky,sky,3\na,sky,road,2\nb,road,sky,1\n")
    assert found.images == ["a", "b"]
    assert found.matrices.tolist() == [[[0, 0], [2, 0]], [[0, 1], [0, 3]]]  # classes road, sky


def test_miou_is_of_all_images_together():
    both = scored(image(3, 0), image(1, 2))
    found = both.miou(np.array([[1, 1], [2, 0], [0, 3], [0, 0]]))
    assert found.tolist() == pytest.approx([4 / 8, 1, 1 / 5, np.nan], nan_ok=True)


def test_a_class_that_is_in_no_truth_is_not_in_the_mean():
    assert scored(np.array([[6, 2], [0, 0]])).miou(np.ones((1, 1))).tolist() == [0.75]


def test_equal_images_have_an_interval_of_no_width():
    method, control = (scored(*[image(right, 10 - right)] * 4) for right in (8, 5))
    found = interval([(method, control)] * 3, rounds=20)
    assert found["low"] == pytest.approx(found["mean"]) == pytest.approx(found["high"])
    assert found["values"] == pytest.approx([8 / 12 - 5 / 15] * 3)


@pytest.mark.parametrize("seeds", [1, 3])
def test_an_interval_is_as_wide_as_its_images_are_different(seeds):
    """One image in two gains all: the mean of 100 has a standard error of 5 points. Equal seeds add no images."""
    halves = scored(*[image(10, 0), image(5, 5)] * 50)
    found = interval([(halves, scored(*[image(5, 5)] * 100))] * seeds, rounds=1000)
    drawn = np.random.default_rng(1).binomial(100, 0.5, 4000) * 5 + 500  # right pixels of a class, of 1000
    differences = drawn / (2000 - drawn) - 1 / 3
    assert [found["low"], found["high"]] == pytest.approx(np.percentile(differences, [2.5, 97.5]), abs=0.02)


def test_an_interval_is_as_wide_as_its_seeds_are_different():
    """Of three seeds one gains 1, the others nothing: all three are drawn alike once in 27 times."""
    worst, best = scored(image(0, 10)), scored(image(10, 0))
    found = interval([(best, worst), (worst, worst), (worst, worst)], rounds=1000)
    assert found["mean"] == pytest.approx(1 / 3)
    assert (found["low"], found["high"]) == pytest.approx((0, 1))


def test_images_are_paired():
    """What both sides share, hard and easy images, makes no interval wider."""
    rng = np.random.default_rng(0)
    easy = rng.integers(10, 90, 40)
    method, control = (scored(*[image(right + more, 100 - right - more) for right in easy]) for more in (5, 0))
    found = interval([(method, control)], rounds=200)
    assert found["high"] - found["low"] < 0.02
    assert found["low"] > 0


def test_other_images_are_refused():
    with pytest.raises(DataError, match="1 and 2 images, not the same ones"):
        interval([(scored(image(1, 0)), scored(image(1, 0), image(0, 1)))])
