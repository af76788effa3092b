"""Weak views move an image and its mask alike."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

from fewmask.core.errors import ConfigError
from fewmask.core.params import Params
from fewmask.learning.views import View, WeakViews, draw_view
from fewmask.learning.views import apply_views as apply_to_maps
from fewmask.nets.base.normalise import Normalise

IDENTITY = Normalise((0.0, 0.0, 0.0), (1 / 255,) * 3)  # uint8 values as they are
SIZE = (24, 32)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def whole(size: tuple[int, int] = SIZE) -> View:
    return View(size, (0, 0, *size), size, (0, 0), False)


def apply_views(images: Tensor, masks: Tensor, views: list[View], normalise: Normalise) -> tuple[Tensor, Tensor]:
    """With one map an image."""
    x, y = apply_to_maps(images, masks[:, None], views, normalise)
    return x, y[:, 0]


def blocks(count: int = 1, side: int = 4, classes: int = 5) -> Tensor:
    """Masks (count, 24, 32) uint8 of ``side`` x ``side`` blocks."""
    small = rng().integers(0, classes, (count, SIZE[0] // side, SIZE[1] // side)).astype(np.uint8)
    return torch.from_numpy(small.repeat(side, 1).repeat(side, 2))


def coded(masks: Tensor) -> Tensor:
    """Images (B, H, W, 3) uint8 whose colour tells the id of each pixel: 10 + 40 * id."""
    return (10 + 40 * masks)[..., None].expand(-1, -1, -1, 3).contiguous()


def test_the_identity_view_is_exact() -> None:
    masks = blocks(2)
    images = torch.from_numpy(rng().integers(0, 256, (2, *SIZE, 3), np.uint8))
    config = WeakViews(scales=[1.0], flip=0, shift=0)
    views = [draw_view(config, SIZE, rng(seed)) for seed in range(2)]
    assert views == [whole(), whole()]
    x, y = apply_views(images, masks, views, IDENTITY)
    assert y.dtype == torch.int64
    assert (y == masks).all()
    torch.testing.assert_close(x, images.permute(0, 3, 1, 2).float(), rtol=0, atol=1e-4)


def test_normalisation_is_mean_and_deviation() -> None:
    """A channel of 51 is 0.2: (0.2 - 0.5) / 0.25 = -1.2."""
    x = Normalise((0.5, 0.2, 0.0), (0.25, 1.0, 0.5))(torch.full((1, 2, 2, 3), 51, dtype=torch.uint8))
    assert x.shape == (1, 3, 2, 2)
    torch.testing.assert_close(x[0, :, 0, 0], torch.tensor([-1.2, 0.0, 0.4]))


@pytest.mark.parametrize("scale", [0.5, 0.75, 0.8, 1.0, 1.25, 1.3, 1.7, 2.0])
def test_image_and_mask_move_alike(scale: float) -> None:
    """The image's colour tells the id; where no edge of a block is near, the moved mask must say the same."""
    config = WeakViews(scales=[scale], flip=0.5, shift=2)
    masks = blocks(12, side=8)
    views = [draw_view(config, SIZE, rng(seed)) for seed in range(12)]
    assert len({view.mirrored for view in views}) == 2
    x, y = apply_views(coded(masks), masks, views, IDENTITY)
    padding = y == 255
    assert (x[padding[:, None].expand_as(x)] == 0).all()
    decoded = (x[:, 0] - 10) / 40
    reach = 2 if scale >= 1 else 1  # how far an interpolated pixel looks
    labels = pad(y[:, None].float(), [reach] * 4, value=-1)
    largest, smallest = (sign * max_pool2d(sign * labels, 2 * reach + 1, 1)[:, 0] for sign in (1, -1))
    safe = (largest == smallest) & ~padding
    assert safe.sum() > 200
    assert (decoded[safe] - y[safe]).abs().max() < 1e-4


def test_a_mirrored_view_is_a_mirror() -> None:
    masks = blocks(1, side=1)
    images = torch.from_numpy(rng().integers(0, 256, (1, *SIZE, 3), np.uint8))
    x, y = apply_views(images, masks, [View(SIZE, (0, 0, *SIZE), SIZE, (0, 0), True)], IDENTITY)
    assert (y == masks.flip(2)).all()
    torch.testing.assert_close(x, images.flip(2).permute(0, 3, 1, 2).float(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("corner", [(0, 0), (2, -1), (-2, 2), (1, 0), (0, -2)])
def test_a_shift_moves_both_and_fills_with_nothing(corner: tuple[int, int]) -> None:
    masks = blocks(1, side=1)
    x, y = apply_views(coded(masks), masks, [View(SIZE, (0, 0, *SIZE), SIZE, corner, False)], IDENTITY)
    expected = torch.full(SIZE, 255, dtype=torch.int64)
    for row in range(SIZE[0]):
        for column in range(SIZE[1]):
            source = (row - corner[0], column - corner[1])
            if 0 <= source[0] < SIZE[0] and 0 <= source[1] < SIZE[1]:
                expected[row, column] = masks[0][source]
    assert (y[0] == expected).all()
    colours = torch.where(expected == 255, 0, 10 + 40 * expected)
    torch.testing.assert_close(x[0], colours.expand(3, -1, -1).float(), rtol=0, atol=1e-4)


def test_padding_is_the_mean_colour_and_void() -> None:
    """At half the size a quarter of the canvas is image; the rest is the mean colour to the nearest byte."""
    config = WeakViews(scales=[0.5], flip=0, shift=0)
    images = torch.full((4, *SIZE, 3), 200, dtype=torch.uint8)
    masks = torch.ones(4, *SIZE, dtype=torch.uint8)
    normalise = Normalise((0.4, 0.5, 0.6), (0.2, 0.2, 0.2))
    x, y = apply_views(images, masks, [draw_view(config, SIZE, rng(seed)) for seed in range(4)], normalise)
    assert (y != 255).sum() == 4 * SIZE[0] * SIZE[1] // 4
    assert (x.permute(0, 2, 3, 1)[y == 255].abs() < 0.6 / 255 / 0.2).all()
    assert (x.permute(0, 2, 3, 1)[y == 1] > 0.9).all()


@pytest.mark.parametrize(("scale", "window"), [(1.25, (19, 26)), (2.0, (12, 16)), (1.7, (14, 19))])
def test_a_larger_scale_is_a_window_that_fills_the_canvas(scale: float, window: tuple[int, int]) -> None:
    config = WeakViews(scales=[scale], flip=0, shift=0)
    corners = set()
    for seed in range(60):
        view = draw_view(config, SIZE, rng(seed))
        top, left, height, width = view.window
        corners.add((top, left))
        assert (height, width) == window
        assert 0 <= top <= SIZE[0] - height
        assert 0 <= left <= SIZE[1] - width
        assert (view.zoomed, view.corner) == (SIZE, (0, 0))
        y = apply_views(coded(blocks()), blocks(), [view], IDENTITY)[1]
        assert (y != 255).all()
    assert {0, SIZE[0] - window[0]} <= {top for top, _ in corners}


def test_doubling_by_hand() -> None:
    """A 2x2 window at double size: each id becomes a 2x2 block."""
    masks = torch.tensor([[[0, 1, 2, 3], [1, 2, 3, 0], [2, 3, 0, 1], [3, 0, 1, 2]]], dtype=torch.uint8)
    y = apply_views(coded(masks), masks, [View((4, 4), (1, 1, 2, 2), (4, 4), (0, 0), False)], IDENTITY)[1]
    assert y[0].tolist() == [[2, 2, 3, 3], [2, 2, 3, 3], [3, 3, 0, 0], [3, 3, 0, 0]]


def test_a_view_is_a_function_of_its_generator() -> None:
    config = WeakViews(scales=[0.8, 1.0, 1.3, 1.7])
    drawn = [draw_view(config, SIZE, rng(seed)) for seed in range(40)]
    assert drawn == [draw_view(config, SIZE, rng(seed)) for seed in range(40)]
    assert len(set(drawn)) == 40
    assert {round(SIZE[0] / view.window[2], 1) for view in drawn} == {1.0, 1.3, 1.7}
    assert any(view.zoomed == (19, 26) for view in drawn)


@pytest.mark.parametrize(
    ("scale", "limit"), [(100.0, "less than or equal to 10"), (0.01, "greater than or equal to 0.1")]
)
def test_a_scale_beyond_reason_is_refused(write_params: Callable[[str], Path], scale: float, limit: str) -> None:
    path = write_params(f"views:\n  scales: [0.1, 10, {scale}]\n")
    with pytest.raises(ConfigError) as caught:
        Params(path).section("views", WeakViews)
    assert str(caught.value) == f"{path}:2: views.scales.2: found {scale}; expected: {limit}."


def test_shifts_and_flips_are_drawn_evenly() -> None:
    views = [draw_view(WeakViews(shift=2), SIZE, rng(seed)) for seed in range(500)]
    assert {view.corner[0] for view in views} == {view.corner[1] for view in views} == {-2, -1, 0, 1, 2}
    assert 200 < sum(view.mirrored for view in views) < 300


def test_each_image_has_its_own_view_and_inputs_stay() -> None:
    masks = blocks(2)
    before = masks.clone()
    views = [whole(), View(SIZE, (0, 0, *SIZE), SIZE, (0, 0), True)]
    y = apply_views(coded(masks), masks, views, IDENTITY)[1]
    assert (y[0] == masks[0]).all()
    assert (y[1] == masks[1].flip(1)).all()
    assert (masks == before).all()


def test_several_maps_of_an_image_move_alike() -> None:
    masks, others = blocks(3, side=1), blocks(3, side=2).flip(0)
    views = [draw_view(WeakViews(scales=[0.8, 1.7]), SIZE, rng(seed)) for seed in range(3)]
    both = apply_to_maps(coded(masks), torch.stack([masks, others], 1), views, IDENTITY)[1]
    assert torch.equal(both[:, 0], apply_views(coded(masks), masks, views, IDENTITY)[1])
    assert torch.equal(both[:, 1], apply_views(coded(masks), others, views, IDENTITY)[1])


def test_a_crop_is_a_piece_of_the_image_as_it_is() -> None:
    config = WeakViews(crop=(8, 16), flip=0, shift=0)
    masks = blocks(1, side=1)
    corners = set()
    for seed in range(200):
        view = draw_view(config, SIZE, rng(seed))
        x, y = apply_views(coded(masks), masks, [view], IDENTITY)
        top, left, height, width = view.window
        corners.add((top, left))
        assert (height, width) == (8, 16)
        assert x.shape == (1, 3, 8, 16)
        assert torch.equal(y[0], masks[0, top : top + 8, left : left + 16].long())
    assert {top for top, _ in corners} == set(range(17))
    assert {left for _, left in corners} == set(range(17))


@pytest.mark.parametrize(("scale", "window"), [(0.5, (16, 32)), (1.5, (5, 11)), (0.25, (24, 32))])
def test_a_crop_of_a_scaled_image(scale: float, window: tuple[int, int]) -> None:
    """A view of 8 x 16 of the image at half size shows 16 x 32 of its pixels; at a quarter all of it, padded."""
    view = draw_view(WeakViews(crop=(8, 16), scales=[scale], flip=0, shift=0), SIZE, rng())
    assert view.window[2:] == window
    y = apply_views(coded(blocks()), blocks(), [view], IDENTITY)[1]
    assert (y != 255).sum() == (8 * 16 if scale > 0.25 else 6 * 8)


def test_a_crop_larger_than_the_image_is_padded() -> None:
    view = draw_view(WeakViews(crop=(30, 40), flip=0, shift=0), SIZE, rng())
    x, y = apply_views(coded(blocks()), blocks(), [view], IDENTITY)
    assert x.shape == (1, 3, 30, 40)
    assert (y != 255).sum() == SIZE[0] * SIZE[1]


CONFIGS = [WeakViews(crop=crop, scales=[0.5, 0.8, 1.0, 1.3, 2.0]) for crop in (None, (8, 16), (30, 12))]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("extent", [(24, 10), (7, 32), (15, 21), (1, 1), SIZE])
def test_a_window_never_leaves_the_extent(config: WeakViews, extent: tuple[int, int]) -> None:
    canvas, reached = config.crop or SIZE, np.zeros(2, int)
    for seed in range(400):
        view = draw_view(config, SIZE, rng(seed), extent)
        top, left, height, width = view.window
        assert view.canvas == canvas
        assert 0 <= top <= top + height <= extent[0]
        assert 0 <= left <= left + width <= extent[1]
        assert min(height, width, *view.zoomed) > 0
        reached = np.maximum(reached, (top + height, left + width))
    assert tuple(reached) == extent


@pytest.mark.parametrize("config", CONFIGS)
def test_where_all_is_image_an_extent_changes_nothing(config: WeakViews) -> None:
    for seed in range(100):
        assert draw_view(config, SIZE, rng(seed), SIZE) == draw_view(config, SIZE, rng(seed))


def test_a_crop_shows_as_much_image_as_there_is() -> None:
    """Of 24 x 10 at its own size, a view of 8 x 16 is 8 x 10 of image, anywhere along the row."""
    config = WeakViews(crop=(8, 16), flip=0, shift=0)
    masks = blocks(1, side=1)
    masks[:, :, 10:] = 9
    corners = set()
    for seed in range(60):
        view = draw_view(config, SIZE, rng(seed), (24, 10))
        y = apply_views(coded(masks), masks, [view], IDENTITY)[1]
        assert (y != 255).sum() == 8 * 10
        assert (y != 9).all()
        corners.add(view.corner)
    assert corners == {(0, left) for left in range(7)}
