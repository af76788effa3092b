"""How images and masks come to the working size."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from fewmask.core.masks import IGNORE
from fewmask.datasets.base.dataset import FilesConfig
from fewmask.datasets.base.fitting import PADDING, fit_extent, fit_image, fit_mask, majority

Make = Callable[..., np.ndarray]


def config(fit: str, size: tuple[int, int] | None) -> FilesConfig:
    return FilesConfig(root="data", fit=fit, size=size)


def image(pixels: np.ndarray, fit: str, size: tuple[int, int] | None) -> np.ndarray:
    return np.asarray(fit_image(Image.fromarray(pixels), config(fit, size)))


def test_the_commonest_id_of_a_block_wins() -> None:
    """Blocks of 2 x 2, six in two rows:

    3 of 7 against 1 of 5: 7   | 2 of 4, 2 of 9: a tie, 4   | 2 of void, 2 of 9: a tie, 9
    3 of void, 1 of 0: void    | 2 of void, 1, 2: void has most | 0, 1, 2, void: a tie of four, 0
    """
    ids = np.array(
        [
            [7, 5, 9, 4, 255, 9],
            [7, 7, 4, 9, 255, 9],
            [255, 255, 1, 255, 255, 2],
            [0, 255, 255, 2, 1, 0],
        ],
        np.uint8,
    )
    assert majority(ids, 2, 2).tolist() == [[7, 4, 9], [255, 255, 0]]


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 3), (4, 1), (3, 4)])
def test_a_vote_counts_every_pixel_of_its_block(rows: int, columns: int) -> None:
    """Against a count written the long way, over blocks that are not square."""
    ids = np.random.default_rng(0).choice([0, 1, 2, 255], (12, 12)).astype(np.uint8)
    found = majority(ids, rows, columns)
    assert found.dtype == np.uint8
    for y, x in np.ndindex(found.shape):
        block = ids[y * rows : (y + 1) * rows, x * columns : (x + 1) * columns]
        assert found[y, x] == np.bincount(block.ravel()).argmax()


def test_an_image_in_blocks_is_their_mean() -> None:
    pixels = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    mean = pixels.reshape(2, 2, 2, 2, 3).mean((1, 3))
    assert np.abs(image(pixels, "blocks", (2, 2)) - mean).max() <= 0.5


def test_blocks_take_pixels_from_nowhere_else() -> None:
    """Bilinear shrinking would mix neighbours: here one block is white."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[2:4, 4:6] = 255
    found = image(pixels, "blocks", (4, 4))
    assert (found[1, 2], found.sum()) == (pytest.approx([255] * 3), 3 * 255)
    assert image(pixels, "stretch", (4, 4))[1, 1].max() > 0


@pytest.mark.parametrize("size", [(5, 8), (24, 32), (12, 9), (6, 7)])
def test_where_blocks_are_not_whole_files_are_stretched(noise: Make, ids: Make, size: tuple[int, int]) -> None:
    assert (image(noise(), "blocks", size) == image(noise(), "stretch", size)).all()
    assert (fit_mask(ids(), config("blocks", size)) == fit_mask(ids(), config("stretch", size))).all()


def test_padding_is_at_the_bottom_and_right_and_void(noise: Make, ids: Make) -> None:
    found, mask = image(noise(), "pad", (14, 21)), fit_mask(ids(), config("pad", (14, 21)))
    assert (found[:12, :16] == noise()).all()
    assert (mask[:12, :16] == ids()).all()
    outside = np.ones((14, 21), bool)
    outside[:12, :16] = False
    assert (found[outside] == PADDING).all()
    assert (mask[outside] == IGNORE).all()


@pytest.mark.parametrize(
    ("size", "extent"), [((6, 16), (6, 8)), ((12, 4), (3, 4)), ((20, 8), (6, 8)), ((1, 100), (1, 1)), ((13, 16), None)]
)
def test_what_exceeds_the_canvas_is_shrunk_with_its_aspect(
    noise: Make, size: tuple[int, int], extent: tuple[int, int] | None
) -> None:
    """12 x 16 on smaller canvases; the last is none."""
    height, width = extent or (12, 16)
    assert fit_extent((12, 16), config("pad", size)) == (height, width)
    mask = fit_mask(np.zeros((12, 16), np.uint8), config("pad", size))
    assert mask.shape == size
    assert (mask == 0).sum() == (mask[:height, :width] == 0).sum() == height * width
    found = image(noise(), "pad", size)
    assert (found[height:] == PADDING).all()
    assert (found[:, width:] == PADDING).all()


@pytest.mark.parametrize("fit", ["stretch", "blocks", "pad"])
def test_without_a_size_files_stay_as_they_are(noise: Make, ids: Make, fit: str) -> None:
    assert (image(noise(), fit, None) == noise()).all()
    assert (fit_mask(ids(), config(fit, None)) == ids()).all()
    assert fit_extent((12, 16), config(fit, None)) == (12, 16)


@pytest.mark.parametrize("fit", ["stretch", "blocks"])
@pytest.mark.parametrize("size", [(6, 8), (14, 20)])
def test_only_a_canvas_has_padding(fit: str, size: tuple[int, int]) -> None:
    assert fit_extent((12, 16), config(fit, size)) == size


@pytest.mark.parametrize("fit", ["stretch", "blocks", "pad"])
@pytest.mark.parametrize("size", [(6, 8), (7, 9), (12, 16), (14, 20)])
def test_a_mask_moves_with_its_image_and_gets_no_new_ids(fit: str, size: tuple[int, int]) -> None:
    """Left half black and class 0, right half white and class 2."""
    mask = np.zeros((12, 16), np.uint8)
    mask[:, 8:] = 2
    pixels = np.repeat(np.where(mask == 2, 255, 0).astype(np.uint8)[..., None], 3, 2)
    small, found = fit_mask(mask, config(fit, size)), image(pixels, fit, size)[..., 0]
    assert small.shape == found.shape == size
    assert set(np.unique(small)) <= {0, 2, IGNORE}
    inside = small != IGNORE
    assert ((found[inside] > 127) == (small[inside] == 2)).mean() > 0.9


def test_stretching_is_bilinear_and_nearest(noise: Make, ids: Make) -> None:
    """As it was before there was a choice: stores of other data sets keep their bytes."""
    width, height = 9, 7
    wanted = Image.fromarray(noise()).resize((width, height), Image.Resampling.BILINEAR)
    assert (image(noise(), "stretch", (height, width)) == np.asarray(wanted)).all()
    labels = Image.fromarray(ids()).resize((width, height), Image.Resampling.NEAREST)
    assert (fit_mask(ids(), config("stretch", (height, width))) == np.asarray(labels)).all()
