"""The drawn road scenes: reproducible, with every class, and as unbalanced as streets are."""

import numpy as np
import pytest

from pipeline.datasets.streets import CLASSES, COLOURS, IGNORE, draw

SIZE = (96, 128)


def shares(masks: np.ndarray) -> dict[str, float]:
    """Masks (N, H, W) uint8 -> share of the pixels by class name."""
    return {name: float((masks == label).mean()) for label, name in enumerate(CLASSES)}


@pytest.fixture(scope="module")
def masks() -> np.ndarray:
    """The masks (30, H, W) uint8 of thirty scenes."""
    return np.stack([draw(0, index, SIZE)[1] for index in range(30)])


def test_every_class_has_its_own_colour() -> None:
    assert len(set(COLOURS)) == len(COLOURS) == len(CLASSES)


@pytest.mark.parametrize("size", [(48, 64), SIZE, (120, 160), (97, 131), (360, 480)])
def test_image_and_mask_are_bytes_of_the_size_asked_for(size: tuple[int, int]) -> None:
    image, mask = draw(3, 1, size)
    assert image.shape == (*size, 3)
    assert mask.shape == size
    assert image.dtype == mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {*range(len(CLASSES)), IGNORE}
    assert image.std() > 5


def test_a_scene_does_not_depend_on_those_drawn_before() -> None:
    forwards = [draw(0, index, SIZE) for index in range(4)]
    backwards = [draw(0, index, SIZE) for index in reversed(range(4))]
    for (image, mask), (image_again, mask_again) in zip(forwards, reversed(backwards), strict=True):
        assert image.tobytes() == image_again.tobytes()
        assert mask.tobytes() == mask_again.tobytes()


@pytest.mark.parametrize(("seed", "index"), [(0, 1), (1, 0), (1, 1)])
def test_another_seed_or_index_is_another_scene(seed: int, index: int) -> None:
    image, mask = draw(0, 0, SIZE)
    other_image, other_mask = draw(seed, index, SIZE)
    assert (image != other_image).mean() > 0.5
    assert (mask != other_mask).mean() > 0.05


def test_the_layout_does_not_depend_on_the_size() -> None:
    """Every second pixel of the large mask is the small mask but at the outlines."""
    small, large = draw(0, 5, (96, 128))[1], draw(0, 5, (192, 256))[1]
    assert (small == large[1::2, 1::2]).mean() > 0.9


def test_classes_are_unbalanced_but_all_there(masks: np.ndarray) -> None:
    share = shares(masks)
    assert share["road"] + share["building"] + share["sky"] > 0.5
    assert share["sign"] + share["pole"] + share["pedestrian"] < 0.1
    assert min(share.values()) > 0.001


def test_how_often_a_class_is_met(masks: np.ndarray) -> None:
    met = {name: (masks == label).any((1, 2)).mean() for label, name in enumerate(CLASSES)}
    rare = {name: met.pop(name) for name in ("sign", "pedestrian")}
    assert min(met.values()) >= 0.5
    assert 0.2 < min(rare.values()) <= max(rare.values()) < 0.8


def test_a_little_is_to_be_ignored(masks: np.ndarray) -> None:
    assert 0.01 < (masks == IGNORE).mean() < 0.05


def test_brightness_varies_from_night_to_glare() -> None:
    brightness = [draw(0, index, (48, 64))[0].mean() for index in range(30)]
    assert min(brightness) < 60
    assert max(brightness) > 140
