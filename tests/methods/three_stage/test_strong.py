"""Strong views do what PIL's operations do, and move images and label maps alike."""

import cmath
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from fewmask.core.errors import ConfigError
from fewmask.core.params import Params
from fewmask.methods.three_stage.strong import (
    GEOMETRIC,
    NAMES,
    PHOTOMETRIC,
    DrawnViews,
    Operation,
    StrongViews,
    draw_strong,
)

SIZE = (24, 40)
ALWAYS = StrongViews(probability=1.0, hole=8)


def strong(*operations: Operation, size: tuple[int, int] = SIZE) -> DrawnViews:
    """One image, no holes."""
    return DrawnViews(size, [list(operations)], [[]])


def pictures(count: int = 1, size: tuple[int, int] = SIZE, seed: int = 0) -> np.ndarray:
    """(count, H, W, 3) uint8 from 0 to 255, every channel with a range and a distribution of its own."""
    noise = np.random.default_rng(seed).random((count, *size, 3))
    found = (np.array([0, 30, 60]) + np.array([200, 225, 100]) * noise ** np.array([1, 2, 3])).astype(np.uint8)
    found[:, 3, 5], found[:, 4, 6] = (0, 40, 70), (150, 255, 90)
    return found


def normalised(images: np.ndarray) -> Tensor:
    """(B, H, W, 3) bytes -> (B, 3, H, W), channels last in memory: 0 is -2 and 255 is 3.1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 50 - 2


def levels(x: Tensor) -> np.ndarray:
    """The way back, as floats."""
    return ((x + 2) * 50).permute(0, 2, 3, 1).numpy()


def grids(count: int = 1, size: tuple[int, int] = SIZE) -> Tensor:
    """Maps in which every pixel has its own number, (count, H, W) int64."""
    return torch.arange(size[0] * size[1]).view(1, *size).repeat(count, 1, 1)


def factor(level: int) -> float:
    return 0.18 * level + 0.1


PIL: dict[str, Callable[[Image.Image, int], Image.Image]] = {
    "AutoContrast": lambda image, level: ImageOps.autocontrast(image),
    "Equalize": lambda image, level: ImageOps.equalize(image),
    "Solarize": lambda image, level: ImageOps.solarize(image, 256 - int(25.6 * level)),
    "Posterize": lambda image, level: ImageOps.posterize(image, 4 - int(0.4 * level)),
    "Color": lambda image, level: ImageEnhance.Color(image).enhance(factor(level)),
    "Contrast": lambda image, level: ImageEnhance.Contrast(image).enhance(factor(level)),
    "Brightness": lambda image, level: ImageEnhance.Brightness(image).enhance(factor(level)),
    "Sharpness": lambda image, level: ImageEnhance.Sharpness(image).enhance(factor(level)),
    "Rotate": lambda image, level: image.rotate(3 * level, fillcolor=255),
    "ShearX": lambda image, level: affine(image, 1, 0.03 * level, 0, 0, 1, 0),
    "ShearY": lambda image, level: affine(image, 1, 0, 0, 0.03 * level, 1, 0),
    "TranslateX": lambda image, level: affine(image, 1, 0, level, 0, 1, 0),
    "TranslateY": lambda image, level: affine(image, 1, 0, 0, 0, 1, level),
}
EXACT = "Equalize", "Solarize", "Posterize"  # tables that give whole numbers


def affine(image: Image.Image, *numbers: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, numbers, fillcolor=255)


# ---- photometry


@pytest.mark.parametrize("level", [1, 3, 4, 7, 9])  # 5 is a factor of 1
@pytest.mark.parametrize("name", PHOTOMETRIC)
def test_a_photometric_operation_is_pil_s(name: str, level: int) -> None:
    """PIL cuts its result to a byte (1 at most) and rounds what it blends with (half, times 0.9 at most)."""
    images = pictures(2)
    expected = np.stack([np.asarray(PIL[name](Image.fromarray(image), level)) for image in images])
    view = DrawnViews(SIZE, [[(name, level)], [(name, -level)]], [[], []])  # the sign means nothing here
    difference = np.abs(levels(view.images(normalised(images))) - expected)
    assert difference.max() < (1e-3 if name in EXACT else 1.5)
    assert np.abs(expected.astype(int) - images).max() > 10


def test_every_operation_has_its_pil_twin() -> None:
    assert {*PIL, "Identity"} == set(NAMES)
    assert len(NAMES) == 14
    assert {*PHOTOMETRIC, *GEOMETRIC} == set(PIL)


def test_operations_take_place_in_the_drawn_order_and_without_rounding() -> None:
    """A quarter of the brightness is undone by AutoContrast if it comes first: in bytes, 72 levels would be left."""
    x = normalised(pictures())
    alone = strong(("AutoContrast", 1)).images(x)
    torch.testing.assert_close(strong(("Brightness", 1), ("AutoContrast", 1)).images(x), alone, rtol=0, atol=1e-4)
    after = strong(("AutoContrast", 1), ("Brightness", 1)).images(x)
    torch.testing.assert_close(after, -2 + factor(1) * (alone + 2), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["AutoContrast", "Equalize"])
def test_a_channel_of_one_value_stays(name: str) -> None:
    images = pictures()
    images[..., 2] = 77
    changed = levels(strong((name, 5)).images(normalised(images)))
    assert np.abs(changed[..., 2] - 77).max() < 1e-3
    assert np.abs(changed[..., 0] - images[..., 0]).max() > 20


def test_how_the_input_is_normalised_does_not_matter() -> None:
    torch.manual_seed(0)
    x, view = normalised(pictures(40)), draw_strong(ALWAYS, 40, SIZE)
    torch.testing.assert_close(view.images(2 * x + 1), 2 * view.images(x) + 1, rtol=0, atol=1e-3)


def test_the_original_s_range_is_kept() -> None:
    """No operation makes anything darker or brighter than the image was."""
    torch.manual_seed(0)
    x = torch.randn(200, 3, *SIZE)
    y = draw_strong(ALWAYS, 200, SIZE).images(x)
    low, high = x.amin((1, 2, 3), True), x.amax((1, 2, 3), True)
    assert y.isfinite().all()
    assert (y >= low - 1e-5).all()
    assert (y <= high + 1e-5).all()
    assert (y != x).flatten(1).any(1).all()


def test_a_constant_image_stays() -> None:
    torch.manual_seed(0)
    x = torch.linspace(-2, 2, 100).view(100, 1, 1, 1).expand(100, 3, *SIZE)
    assert torch.equal(draw_strong(ALWAYS, 100, SIZE).images(x), x)


# ---- geometry


@pytest.mark.parametrize("level", [-9, -4, -1, 1, 5, 9])
@pytest.mark.parametrize("name", GEOMETRIC)
def test_a_geometric_operation_is_pil_s(name: str, level: int) -> None:
    """But for rare pixels: PIL rounds places to 1 / 65536 pixel in another way. (61, 83) is no multiple of anything."""
    size = (61, 83)
    labels = np.random.default_rng(0).integers(0, 200, size, np.uint8)
    expected = torch.from_numpy(np.array(PIL[name](Image.fromarray(labels), level)))
    found = strong((name, level), size=size).labels(torch.from_numpy(labels)[None])[0]
    assert (found != expected).float().mean() < 0.002
    assert (found != torch.from_numpy(labels)).float().mean() > 0.1


@pytest.mark.parametrize("level", [-9, -2, 3, 7])
def test_a_rotation_by_hand(level: int) -> None:
    """As complex numbers (rows downwards): what is at p came from c + (p - c) exp(i angle), c the middle."""
    size = (15, 22)
    found = strong(("Rotate", level), size=size).labels(grids(size=size), fill=-1)[0]
    middle, turn = complex(11, 7.5), cmath.exp(1j * math.radians(3 * level))
    for row in range(15):
        for column in range(22):
            place = middle + (complex(column + 0.5, row + 0.5) - middle) * turn
            source = (math.floor(place.imag), math.floor(place.real))
            inside = 0 <= source[0] < 15 and 0 <= source[1] < 22
            assert found[row, column] == (source[0] * 22 + source[1] if inside else -1)


def test_a_positive_rotation_is_counter_clockwise() -> None:
    """What is right of the middle moves up."""
    labels = torch.zeros(1, 41, 41, dtype=torch.int64)
    labels[0, 18:23, 33:38] = 1
    up = strong(("Rotate", 9), size=(41, 41)).labels(labels)[0]
    down = strong(("Rotate", -9), size=(41, 41)).labels(labels)[0]
    assert (up == 1).nonzero()[:, 0].float().mean() < 15
    assert (down == 1).nonzero()[:, 0].float().mean() > 26


def test_a_shear_by_hand() -> None:
    """Level 5: 0.15 of a pixel a row. Row 0 is 0.5 down: 0.075; row 3: 0.525, past half a pixel; row 10: 1.575."""
    found = strong(("ShearX", 5)).labels(grids(), fill=-1)[0]
    for row, shift in ((0, 0), (3, 1), (10, 2)):
        assert (found[row, : 40 - shift] == grids()[0, row, shift:]).all()
        assert (found[row, 40 - shift :] == -1).all()
    found = strong(("ShearY", -5)).labels(grids(), fill=-1)[0]
    for column, shift in ((0, 0), (3, 1), (10, 2)):
        assert (found[shift:, column] == grids()[0, : 24 - shift, column]).all()
        assert (found[:shift, column] == -1).all()


@pytest.mark.parametrize(("right", "down"), [(3, 0), (0, 3), (-7, 9), (9, -9)])
def test_translations_are_in_pixels(right: int, down: int) -> None:
    """A level of 3 shows what was 3 pixels further right, or further down."""
    chosen = [(name, level) for name, level in (("TranslateX", right), ("TranslateY", down)) if level]
    found = strong(*chosen).labels(grids(), fill=-1)[0]
    expected = torch.full(SIZE, -1)
    rows, columns = slice(max(0, -down), 24 - max(0, down)), slice(max(0, -right), 40 - max(0, right))
    expected[rows, columns] = grids()[0, rows.start + down : rows.stop + down, columns.start + right :][
        :, : columns.stop - columns.start
    ]
    assert torch.equal(found, expected)


def test_a_translation_further_than_the_image_leaves_nothing() -> None:
    view = strong(*[("TranslateX", 9)] * 5)
    assert (view.labels(grids()) == 255).all()
    assert view.images(normalised(pictures())).unique().tolist() == pytest.approx([0.55])


@pytest.mark.parametrize(
    "chosen",
    [
        [("Rotate", 5), ("TranslateX", 6)],
        [("TranslateX", 6), ("Rotate", 5)],
        [("ShearX", 9), ("TranslateY", -8)],
        [("TranslateY", 4), ("TranslateX", -6), ("ShearY", -9)],
    ],
)
def test_composition_is_one_operation_after_the_other(chosen: list[Operation]) -> None:
    """With translations, which take whole pixels, it is exact wherever the steps have not lost the pixel."""
    found, steps = strong(*chosen).labels(grids(), fill=-1), grids()
    for operation in chosen:
        steps = strong(operation).labels(steps, fill=-1)
    kept = steps >= 0
    assert kept.float().mean() > 0.4
    assert torch.equal(found[kept], steps[kept])
    assert not torch.equal(found, strong(*chosen[::-1]).labels(grids(), fill=-1))


def test_two_rotations_are_sampled_once() -> None:
    """Rotations about one centre add up: 3 and 9 degrees are 12. One after the other would miss many pixels."""
    once, twice = strong(("Rotate", 4)), strong(("Rotate", 1), ("Rotate", 3))
    assert (once.labels(grids()) != twice.labels(grids())).sum() <= 1
    steps = strong(("Rotate", 3)).labels(strong(("Rotate", 1)).labels(grids()))
    assert (once.labels(grids()) != steps).sum() > 50


def test_what_one_operation_moves_out_another_brings_back() -> None:
    x = normalised(pictures())
    view = strong(("TranslateX", 9), ("TranslateX", -9))
    assert torch.equal(view.images(x), x)
    assert torch.equal(view.labels(grids()), grids())


def test_photometry_sees_the_image_without_its_outside() -> None:
    """Mid-grey pixels in the histogram would shift every entry of Equalize's table."""
    x = normalised(pictures())
    first = strong(("TranslateX", 9), ("Equalize", 1)).images(x)
    assert torch.equal(first, strong(("Equalize", 1), ("TranslateX", 9)).images(x))
    assert torch.equal(first[..., :31], strong(("Equalize", 1)).images(x)[..., 9:])


# ---- images and label maps


@pytest.mark.parametrize("seed", range(5))
def test_image_and_labels_agree_pixel_by_pixel(seed: int) -> None:
    """The grey level tells the label; outside, and there alone, the image is mid-grey and the label is ``fill``."""
    torch.manual_seed(seed)
    drawn = draw_strong(StrongViews(operations=6, probability=1.0, holes=0), 30, SIZE)
    view = DrawnViews(SIZE, [[o for o in image if o[0] in GEOMETRIC] for image in drawn.operations], drawn.holes)
    labels = torch.randint(10, (30, *SIZE), dtype=torch.uint8)
    labels[:, :2] = torch.arange(2, dtype=torch.uint8).view(2, 1) * 9  # all have the same range
    x = (labels.float() / 9)[:, None].repeat(1, 3, 1, 1)
    seen, moved = view.images(x), view.labels(labels)
    outside = moved == 255
    assert 0.1 < outside.float().mean() < 0.9
    assert torch.equal(seen, torch.where(outside, 0.5, moved.float() / 9)[:, None].expand_as(seen))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_moving_a_grid_and_gathering_is_moving_the_labels(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    view = draw_strong(ALWAYS, 30, SIZE)
    labels = torch.randint(100, (30, *SIZE)).to(dtype)
    grid = view.labels(grids(30), fill=-1)
    expected = labels.flatten(1).gather(1, grid.clamp(min=0).flatten(1)).view_as(labels)
    moved = view.labels(labels, fill=101)
    assert moved.dtype == dtype
    assert torch.equal(moved, expected.masked_fill(grid < 0, 101))
    assert (grid != grids(30)).any()


def test_several_maps_an_image_are_each_moved() -> None:
    torch.manual_seed(0)
    view, maps = draw_strong(ALWAYS, 20, SIZE), torch.randint(9, (20, 3, *SIZE), dtype=torch.uint8)
    moved = view.labels(maps, fill=77)
    assert moved.shape == maps.shape
    for index in range(3):
        assert torch.equal(moved[:, index], view.labels(maps[:, index], fill=77))
    assert (moved == 77).any()


def test_each_image_has_its_own_view() -> None:
    x, y = normalised(pictures(3)), grids(3)
    view = DrawnViews(SIZE, [[("ShearX", 9)], [], [("Solarize", 5), ("TranslateY", 2)]], [[], [], [(1, 3, 4, 9)]])
    for index in range(3):
        one = DrawnViews(SIZE, [view.operations[index]], [view.holes[index]])
        assert torch.equal(view.images(x)[index : index + 1], one.images(x[index : index + 1]))
        assert torch.equal(view.labels(y)[index : index + 1], one.labels(y[index : index + 1]))
    assert torch.equal(view.images(x)[1], x[1])  # untouched beside touched: exactly
    assert not torch.equal(view.images(x)[0], x[0])


@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
def test_inputs_stay_and_memory_is_laid_out_as_it_was(memory: torch.memory_format) -> None:
    torch.manual_seed(0)
    view, x, y = draw_strong(ALWAYS, 30, SIZE), normalised(pictures(30)).contiguous(memory_format=memory), grids(30)
    before = x.clone()
    seen, moved = view.images(x), view.labels(y)
    assert torch.equal(x, before)
    assert torch.equal(y, grids(30))
    assert seen.is_contiguous(memory_format=memory)
    assert seen.data_ptr() != x.data_ptr()
    assert seen.dtype == torch.float32
    assert torch.equal(seen, view.images(before.contiguous(memory_format=torch.channels_last)))
    assert moved.shape == y.shape


def test_another_size_or_number_is_refused() -> None:
    for x in (torch.zeros(2, 3, *SIZE), torch.zeros(1, 3, 24, 41)):
        with pytest.raises(AssertionError):
            strong(("Rotate", 1)).images(x)
        with pytest.raises(AssertionError):
            strong(("Rotate", 1)).labels(x[:, 0].long())


# ---- cutout


def test_holes_are_mid_grey_and_hide_no_label() -> None:
    """Mid-grey is half-way between 0 and 255, 0.55 in these units."""
    x, labels = normalised(pictures()), grids()
    view = DrawnViews(SIZE, [[]], [[(2, 6, 30, 40), (0, 3, 0, 5)]])
    seen = view.images(x)
    hidden = torch.zeros(SIZE, dtype=torch.bool)
    hidden[2:6, 30:40] = hidden[0:3, 0:5] = True
    assert torch.equal(seen, torch.where(hidden, (x.amin() + x.amax()) / 2, x))
    assert seen[0, 0, 2, 30] == pytest.approx(0.55)
    assert view.labels(labels) is labels


def test_holes_come_last() -> None:
    """After the warp, where they were drawn; no operation changes their grey."""
    x = normalised(pictures())
    operations = [("Brightness", 1), ("TranslateX", 9)]
    seen = DrawnViews(SIZE, [operations], [[(5, 10, 5, 10)]]).images(x)
    expected = strong(*operations).images(x)
    expected[..., 5:10, 5:10] = (x.amin() + x.amax()) / 2
    assert torch.equal(seen, expected)


@pytest.mark.parametrize(("side", "sides"), [(1, {1}), (4, {2, 3, 4}), (5, {3, 4, 5})])
def test_holes_are_squares_clipped_at_the_border(side: int, sides: set[int]) -> None:
    """The centre lies in the image, so that at least half of a side does."""
    torch.manual_seed(0)
    holes = [hole for image in draw_strong(StrongViews(hole=side), 500, SIZE).holes for hole in image]
    assert len(holes) == 1500
    assert {bottom - top for top, bottom, _, _ in holes} == {right - left for _, _, left, right in holes} == sides
    for first, last, room in ((0, 1, 24), (2, 3, 40)):
        covered = np.zeros(room, int)
        for hole in holes:
            assert 0 <= hole[first] < hole[last] <= room
            covered[hole[first] : hole[last]] += 1
        inner = covered[side:-side]
        assert inner.min() > 0.5 * inner.mean()
        assert inner.max() < 1.5 * inner.mean()
        assert covered.min() > 0


def test_a_hole_larger_than_the_image_hides_all_of_it() -> None:
    torch.manual_seed(0)
    view, x, labels = (
        draw_strong(StrongViews(operations=0, holes=1, hole=1000), 2, SIZE),
        normalised(pictures(2)),
        grids(2),
    )
    assert torch.equal(view.images(x), torch.full_like(x, ((x.amin() + x.amax()) / 2).item()))
    assert torch.equal(view.labels(labels), labels)


# ---- nothing to do, and draws


@pytest.mark.parametrize("off", [{"operations": 0}, {"probability": 0.0}])
def test_the_identity_returns_what_it_was_given(off: dict[str, float]) -> None:
    x, labels = normalised(pictures(4)), grids(4)
    view = draw_strong(StrongViews(holes=0, **off), 4, SIZE)  # type: ignore[arg-type]
    assert view.images(x) is x
    assert view.labels(labels) is labels


def test_operations_and_levels_are_drawn_evenly() -> None:
    """9000 of 14 operations, every other one applied: 321 of each (Identity leaves no trace), deviation 18."""
    torch.manual_seed(0)
    view = draw_strong(StrongViews(), 3000, SIZE)
    drawn = [operation for image in view.operations for operation in image]
    names, levels = Counter(name for name, _ in drawn), Counter(level for _, level in drawn)
    assert set(names) == set(NAMES) - {"Identity"}
    assert all(240 < count < 400 for count in names.values())
    assert set(levels) == {*range(-9, 0), *range(1, 10)}  # 232 of each, deviation 15
    assert all(160 < count < 310 for count in levels.values())
    lengths = Counter(len(image) for image in view.operations)  # binomial: 3 of 13 / 28
    assert lengths[0] / 3000 == pytest.approx((15 / 28) ** 3, abs=0.03)
    assert lengths[3] / 3000 == pytest.approx((13 / 28) ** 3, abs=0.03)


def test_the_order_is_drawn_and_an_operation_can_come_twice() -> None:
    torch.manual_seed(0)
    view = draw_strong(StrongViews(probability=1.0), 2000, SIZE)
    pairs = {tuple(name for name, _ in image[:2]) for image in view.operations if len(image) > 1}
    assert len(pairs) == 13 * 13


def test_a_view_is_a_function_of_torch_s_generator_alone() -> None:
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        random.seed(len(drawn))
        np.random.seed(len(drawn))  # noqa: NPY002
        drawn.append([draw_strong(StrongViews(), 10, SIZE) for _ in range(2)])
    assert drawn[0] == drawn[1]
    assert drawn[0][0] != drawn[0][1]
    assert drawn[0] != drawn[2]


@pytest.fixture
def deterministic() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


@pytest.mark.usefixtures("deterministic")
def test_every_operation_is_deterministic() -> None:
    x, y = normalised(pictures(13)), grids(13)
    first, second = (DrawnViews(SIZE, [[(name, 4)] for name in NAMES[1:]], [[(1, 5, 1, 5)]] * 13) for _ in range(2))
    assert first.images(x).isfinite().all()  # where memory is not initialised, this mode puts NaN
    assert torch.equal(first.images(x), second.images(x))
    assert torch.equal(first.labels(y), second.labels(y))


@pytest.mark.gpu
@pytest.mark.usefixtures("deterministic")
def test_a_gpu_sees_the_same() -> None:
    """Pixel for pixel; grey levels to rounding errors, after which a byte of Equalize's may be its neighbour's."""
    torch.manual_seed(0)
    view, x, y = draw_strong(ALWAYS, 100, SIZE), normalised(pictures(100)), grids(100)
    assert torch.equal(view.labels(y.cuda()).cpu(), view.labels(y))
    difference = (view.images(x.cuda()).cpu() - view.images(x)).abs()
    assert (difference > 1e-4).float().mean() < 0.01


# ---- params


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("operations: -1", "-1; expected: greater than or equal to 0"),
        ("probability: 1.5", "1.5; expected: less than or equal to 1"),
        ("hole: 0", "0; expected: greater than 0"),
    ],
)
def test_what_cannot_be_is_refused(write_params: Callable[[str], Path], line: str, found: str) -> None:
    path = write_params(f"strong:\n  {line}\n")
    with pytest.raises(ConfigError) as caught:
        Params(path).section("strong", StrongViews)
    assert str(caught.value) == f"{path}:2: strong.{line.split(':')[0]}: found {found}."
