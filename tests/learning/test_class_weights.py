"""Class weights against CamVid's own table (docs of the data set, counted from its 367 training masks)."""

import math

import numpy as np
import pytest
import torch

from fewmask.learning.class_weights import class_share, class_weights, fill_class_weights
from fewmask.learning.learner import LabelledData, PixelCounts

PIXELS = 367 * 360 * 480
# pixels, images that contain it; p global, present; weights global with c = 1.10, 1.04, present with c = 1.10, 1.04
CAMVID = {
    "sky": (10682767, 366, 0.16845, 0.16891, 4.205, 5.282, 4.199, 5.271),
    "building": (14750079, 365, 0.23259, 0.23386, 3.483, 4.148, 3.471, 4.131),
    "pole": (623349, 366, 0.00983, 0.00986, 9.596, 20.564, 9.594, 20.552),
    "road": (20076880, 367, 0.31658, 0.31658, 2.872, 3.279, 2.872, 3.279),
    "pavement": (2845085, 349, 0.04486, 0.04718, 7.392, 12.277, 7.283, 11.964),
    "tree": (6166762, 319, 0.09724, 0.11187, 5.555, 7.776, 5.204, 7.073),
    "sign": (743859, 351, 0.01173, 0.01226, 9.441, 19.827, 9.399, 19.631),
    "fence": (714595, 173, 0.01127, 0.02390, 9.479, 20.001, 8.561, 16.144),
    "car": (3719877, 360, 0.05866, 0.05980, 6.791, 10.628, 6.745, 10.512),
    "pedestrian": (405385, 317, 0.00639, 0.00740, 9.891, 22.052, 9.802, 21.593),
    "bicyclist": (184967, 201, 0.00292, 0.00533, 10.208, 23.797, 9.986, 22.557),
}
VOID = 2503995
TABLE = np.array(list(CAMVID.values()))


@pytest.fixture
def counts() -> PixelCounts:
    present = TABLE[:, 1].astype(np.int64) * 360 * 480
    return PixelCounts(TABLE[:, 0].astype(np.int64), PIXELS, present)


def test_the_table_is_whole() -> None:
    assert TABLE[:, 0].sum() + VOID == PIXELS


@pytest.mark.parametrize(("share", "column"), [("global", 2), ("present", 3)])
def test_shares(counts: PixelCounts, share: str, column: int) -> None:
    """Void stands in the denominator of ``global``; ``present`` is over the images in which the class occurs."""
    assert class_share(counts, share).numpy() == pytest.approx(TABLE[:, column], abs=6e-6)


@pytest.mark.parametrize(
    ("share", "c", "column"), [("global", 1.10, 4), ("global", 1.04, 5), ("present", 1.10, 6), ("present", 1.04, 7)]
)
def test_weights(counts: PixelCounts, share: str, c: float, column: int) -> None:
    assert class_weights(class_share(counts, share), c).numpy() == pytest.approx(TABLE[:, column], rel=2e-4)


def test_sky_by_hand() -> None:
    """10682767 / 63417600 = 0.168451; 1 / ln(1.268451) = 1 / 0.237797 = 4.2053."""
    assert PIXELS == 63417600
    assert 1 / math.log(1.10 + 10682767 / PIXELS) == pytest.approx(4.2053, abs=1e-4)


def test_an_absent_class_weighs_nothing(counts: PixelCounts) -> None:
    """1 / ln(1.1 + 0) = 10.49 would be the largest weight of all."""
    without = PixelCounts(np.array([5, 0]), 10, np.array([10, 0]))
    for share in ("global", "present"):
        found = class_weights(class_share(without, share), 1.1)
        assert found[1] == 0
        torch.testing.assert_close(found[0], torch.tensor(1 / math.log(1.6)))


def test_class_weights_at_the_ends():
    """1/ln(1.1 + 1) = 1.3478; absent classes get 0, vanishing ones 1/ln 1.1 = 10.49."""
    weights = class_weights(torch.tensor([1.0, 0.0, 1e-9]), 1.1)
    torch.testing.assert_close(weights, torch.tensor([1.3478, 0.0, 10.4921]), atol=1e-4, rtol=0)


def test_weights_stay_alike_unless_asked(counts: PixelCounts) -> None:
    data = LabelledData()
    data.counts = counts
    for c, share in ((None, "global"), (1.1, "global"), (1.1, "present")):
        weights = torch.ones(len(CAMVID))
        fill_class_weights(weights, data, c, share)
        expected = torch.ones(len(CAMVID)) if c is None else class_weights(class_share(counts, share), c)
        assert torch.equal(weights, expected)
