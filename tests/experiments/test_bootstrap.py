"""Intervals of differences: exact where nothing varies, and as wide as what varies."""

import numpy as np
import pytest

from experiments.bootstrap import interval, matrices, miou


def image(right: int, wrong: int) -> np.ndarray:
    """Of two classes alike: ``right`` and ``wrong`` pixels of each."""
    return np.array([[right, wrong], [wrong, right]])


def test_a_table_becomes_one_matrix_an_image():
    table = "image,actual,predicted,pixels\nb,sky,sky,3\na,sky,road,2\nb,road,sky,1\n"
    found = matrices(table)
    assert found.tolist() == [[[0, 0], [2, 0]], [[0, 1], [0, 3]]]  # images a, b; classes road, sky


def test_miou_is_of_all_images_together():
    assert miou(np.stack([image(3, 0), image(1, 2)])) == pytest.approx(4 / 8)


def test_equal_images_have_an_interval_of_no_width():
    method, control = ([np.stack([image(right, 10 - right)] * 4)] * 3 for right in (8, 5))
    found = interval(method, control, rounds=20)
    assert found["low"] == pytest.approx(found["mean"]) == pytest.approx(found["high"])
    assert found["mean"] == pytest.approx(8 / 12 - 5 / 15)


def test_an_interval_is_as_wide_as_its_images_are_different():
    """One image in two gains all: the mean of 100 has a standard error of 5 points."""
    halves = np.stack([image(10, 0), image(5, 5)] * 50)
    found = interval([halves], [np.stack([image(5, 5)] * 100)], rounds=500)
    drawn = np.random.default_rng(1).binomial(100, 0.5, 4000) * 5 + 500  # right pixels of a class, of 1000
    differences = drawn / (2000 - drawn) - 1 / 3
    assert [found["low"], found["high"]] == pytest.approx(np.percentile(differences, [2.5, 97.5]), abs=0.02)


def test_images_are_paired():
    """What both sides share, hard and easy images, makes no interval wider."""
    rng = np.random.default_rng(0)
    easy = rng.integers(10, 90, 40)
    method, control = (np.stack([image(right + more, 100 - right - more) for right in easy]) for more in (5, 0))
    found = interval([method], [control], rounds=200)
    assert found["high"] - found["low"] < 0.02
    assert found["low"] > 0
