"""The drawn road scenes: reproducible, with every class, and as unbalanced as streets are."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from fewmask.core.masks import IGNORE
from fewmask.datasets.base.dataset import Sample
from fewmask.datasets.streets.looks import LOOKS
from fewmask.datasets.streets.scenes import CLASSES, COLOURS, draw, is_sparse
from fewmask.datasets.streets.streets import Config, open_dataset

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


@pytest.fixture(scope="module")
def game() -> tuple[np.ndarray, np.ndarray]:
    """Images (40, H, W, 3) and masks (40, H, W) of the other look."""
    images, masks = zip(*(draw(0, index, SIZE, "game") for index in range(40)), strict=True)
    return np.stack(images), np.stack(masks)


def test_photographs_stay_as_they_are() -> None:
    """No setting of the other look changes them: brightness by blocks, contrast of neighbours, pixels by class."""
    image, mask = draw(0, 3, (48, 64))
    blocks = [[108.5, 169.4, 171.7, 137.2], [139.4, 172.3, 151.7, 136.4]]
    blocks += [[190.9, 182.5, 166.4, 158.8], [182.3, 181.8, 181.5, 177.6]]
    assert image.reshape(4, 12, 4, 16, 3).mean((1, 3, 4)) == pytest.approx(np.array(blocks), abs=0.2)
    assert np.abs(np.diff(image.astype(int), axis=1)).mean() == pytest.approx(16.14, abs=0.1)
    pixels = np.bincount(mask.ravel(), minlength=256)[[*range(10), IGNORE]]
    assert pixels == pytest.approx(np.array([457, 527, 111, 967, 166, 484, 90, 0, 55, 89, 126]), abs=2)


def test_both_looks_show_every_class(game: tuple[np.ndarray, np.ndarray]) -> None:
    _, masks = game
    assert min(shares(masks).values()) > 0.001
    assert 0.01 < (masks == IGNORE).mean() < 0.05
    met = [(masks == label).any((1, 2)).mean() for label in range(len(CLASSES))]
    assert min(met) > 0.2


def test_a_game_is_sharper_more_colourful_and_seen_from_higher_up(
    game: tuple[np.ndarray, np.ndarray], masks: np.ndarray
) -> None:
    images, game_masks = game
    photographs = np.stack([draw(0, index, SIZE)[0] for index in range(30)])

    def grain(stack: np.ndarray) -> float:
        """Median difference of neighbouring pixels: texture and noise, not edges."""
        return float(np.median(np.abs(np.diff(stack.astype(int), axis=2))))

    def colourfulness(stack: np.ndarray) -> float:
        return float(np.ptp(stack.astype(int), axis=3).mean())

    assert grain(images) < 0.5 * grain(photographs)
    assert colourfulness(images) > 1.3 * colourfulness(photographs)
    assert shares(game_masks)["road"] > 1.1 * shares(masks)["road"]


def test_no_scene_is_laid_out_alike_in_both_looks() -> None:
    """Else the source domain would give away the held-out scenes of the target of the same seed."""
    for index in range(5):
        assert (draw(0, index, SIZE)[1] != draw(0, index, SIZE, "game")[1]).mean() > 0.05
    assert len({look.seed for look in LOOKS.values()}) == len(LOOKS)


def test_params_choose_the_look_and_the_share_of_sparse_scenes() -> None:
    for look in LOOKS:
        for sparse in (0, 1):
            keys = {"kind": "streets", "look": look, "size": (48, 64), "seed": 2, "sparse": sparse}
            image, mask = open_dataset(Config.model_validate(keys)).read(Sample("street_00004", "train"))
            expected = draw(2, 4, (48, 64), look, sparse)
            assert image.tobytes() == expected[0].tobytes()
            assert mask.tobytes() == expected[1].tobytes()


def test_a_share_of_the_scenes_is_sparse_and_a_larger_one_contains_it() -> None:
    for look in LOOKS:
        chosen = [{i for i in range(600) if is_sparse(0, i, look, share)} for share in (0, 0.1, 0.2, 0.5, 1)]
        assert [len(scenes) / 600 for scenes in chosen] == pytest.approx([0, 0.1, 0.2, 0.5, 1], abs=0.05)
        assert all(few <= more for few, more in pairwise(chosen))
        assert all(8 <= len(chosen[2] & set(range(first, first + 50))) <= 12 for first in range(550))


@pytest.mark.parametrize("look", LOOKS)
def test_the_other_scenes_stay_as_they_are(look: str) -> None:
    changed = []
    for index in range(12):
        pairs = zip(draw(0, index, (24, 32), look), draw(0, index, (24, 32), look, 0.3), strict=True)
        changed.append(any(dense.tobytes() != other.tobytes() for dense, other in pairs))
    assert changed == [is_sparse(0, index, look, 0.3) for index in range(12)]
    assert 0 < sum(changed) < 12


@pytest.mark.parametrize("look", LOOKS)
def test_sparse_scenes_show_few_classes_and_not_always_the_same(look: str) -> None:
    images, masks = zip(*(draw(0, index, (48, 64), look, 1) for index in range(120)), strict=True)
    sets = Counter(frozenset(np.unique(mask).tolist()) - {IGNORE} for mask in masks)
    assert {len(classes) for classes in sets} == {2, 3, 4}
    assert len(sets) > 15
    assert max(sets.values()) < 30
    met = [sum(count for classes, count in sets.items() if label in classes) / 120 for label in range(len(CLASSES))]
    assert 0.01 < min(met) < max(met) < 0.9
    brightness = [image.mean() for image in images]
    assert max(brightness) - min(brightness) > 80
    assert min(image.std() for image in images) > 3
    assert len({mask.tobytes() for mask in masks}) > 110


@pytest.mark.parametrize("size", [(24, 160), (97, 131), (128, 64), (192, 256)])
def test_sparse_scenes_are_as_sparse_at_every_size(size: tuple[int, int]) -> None:
    for index in range(12):
        image, mask = draw(1, index, size, sparse=1)
        assert image.shape == (*size, 3)
        assert 2 <= len({*np.unique(mask).tolist()} - {IGNORE}) <= 4
