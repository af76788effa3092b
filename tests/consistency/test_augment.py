"""The augmentations of Table 1: numbers worked by hand, and images, labels and confidences that stay together."""

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fewmask.consistency.augment import Augment, StrongAugment, WeakAugment, augment, mirror, zoom
from fewmask.consistency.classmix import Views
from fewmask.core.errors import ConfigError
from fewmask.core.params import Params
from fewmask.learning.colours import blur, jitter
from fewmask.nets.base.normalise import Normalise

SIZE = (24, 40)
NORMALISE = Normalise((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PLAIN = Normalise((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # colours of 0..1 as they are
NOTHING = {"flip": 0.0, "resize": 0.0, "jitter": 0.0, "blur": 0.0, "mix": 0.0}
WEAK, STRONG = WeakAugment(), StrongAugment()
ALWAYS = STRONG.model_copy(update=dict.fromkeys(NOTHING, 1.0))
GREY = torch.tensor([0.299, 0.587, 0.114])


def batch(count: int = 4, size: tuple[int, int] = SIZE, normalise: Normalise = NORMALISE) -> Views:
    """Noise; blocks of 4 x 4 pixels of 9 classes and 255."""
    x = normalise(torch.randint(256, (count, *size, 3), dtype=torch.uint8))
    labels = torch.randint(10, (count, size[0] // 4, size[1] // 4)).repeat_interleave(4, 1).repeat_interleave(4, 2)
    return Views(x, labels.masked_fill(labels == 9, 255), torch.rand(count, *size))


def images(count: int = 4, size: tuple[int, int] = SIZE) -> Tensor:
    """Colours from 0.25 to 0.75, (B, 3, H, W), where no jitter of these tests is cut."""
    return 0.25 + torch.rand(count, 3, *size) / 2


def factors(*rows: list[float]) -> Tensor:
    return torch.tensor(rows)


def equal(first: Views, second: Views) -> bool:
    return all(torch.equal(*pair) for pair in zip(first, second, strict=True))


def only(**fields: Any) -> Augment:
    """The strong set with no probability but those given."""
    return STRONG.model_copy(update={**NOTHING, **fields})


# ---- the Table


def test_the_two_sets_are_those_of_table_1() -> None:
    table = {
        "flip": (0.5, 0.5),
        "resize": (0.5, 0.8),
        "scales": ((0.75, 1.75), (0.75, 1.75)),
        "jitter": (0.2, 0.8),
        "brightness": (0.15, 0.3),
        "contrast": (0.15, 0.3),
        "saturation": (0.075, 0.15),
        "hue": (0.05, 0.1),
        "blur": (0.0, 0.2),
        "sigma": ((0.1, 1.5), (0.1, 1.5)),
        "mix": (0.2, 0.8),
        "background": (True, True),
        "grey": (0.0, 0.0),
        "mixing": ("classmix", "classmix"),
    }
    assert WEAK.model_dump() == {name: weak for name, (weak, _) in table.items()}
    assert STRONG.model_dump() == {name: strong for name, (_, strong) in table.items()}


def test_each_probability_is_that_of_an_image() -> None:
    """600 images each: the share that changes is the probability, deviation 0.02."""
    torch.manual_seed(0)
    views = batch(600, (8, 12))
    views = views._replace(labels=(torch.arange(600) % 250)[:, None, None].expand(600, 8, 12).contiguous())
    for name in NOTHING:
        out = augment(only(**{name: 0.3}, sigma=(1.0, 1.5)), *views, NORMALISE)
        changed = (out.x != views.x).flatten(1).any(1) | (out.labels != views.labels).flatten(1).any(1)
        assert changed.float().mean() == pytest.approx(0.3, abs=0.07), name


def test_scales_and_factors_are_drawn_evenly_from_their_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Tensor] = {}

    def spy(module: str, name: str, function: Callable) -> None:
        def called(first: Any, drawn: Tensor, *rest: Any) -> Any:
            seen[name] = drawn
            return function(first, drawn, *rest)

        monkeypatch.setattr(f"fewmask.{module}.{name}", called)

    spy("consistency.augment", "zoom", zoom)
    spy("learning.colours", "jitter", jitter)
    spy("learning.colours", "blur", blur)
    torch.manual_seed(0)
    augment(ALWAYS, *batch(2000, (8, 8)), NORMALISE)
    drawn = torch.column_stack([seen["zoom"], seen["jitter"], seen["blur"]])
    low = torch.tensor([0.75, 0.7, 0.7, 0.85, -0.1, 0.1])
    high = torch.tensor([1.75, 1.3, 1.3, 1.15, 0.1, 1.5])
    share = (drawn - low) / (high - low)
    assert share.min() > -1e-5
    assert share.max() < 1 + 1e-5
    torch.testing.assert_close(share.mean(0), torch.full((6,), 0.5), rtol=0, atol=0.03)  # deviation 0.0065
    torch.testing.assert_close(share.std(0), torch.full((6,), 12**-0.5), rtol=0, atol=0.02)
    assert share.T.corrcoef().fill_diagonal_(0).abs().max() < 0.1  # deviation 0.022


@pytest.mark.parametrize("background", [True, False])
def test_background_is_what_the_config_says(background: bool) -> None:
    torch.manual_seed(0)
    views = batch(2, (8, 8))._replace(labels=torch.arange(64).view(1, 8, 8).repeat(2, 1, 1) // 32)
    views.labels[1] = 2
    out = augment(only(mix=1.0, background=background), *views, NORMALISE)
    assert (out.labels[1] == 0).any() == background


# ---- nothing to do


def test_where_nothing_is_drawn_all_stays_to_the_bit() -> None:
    torch.manual_seed(0)
    views = batch()
    assert equal(augment(only(), *views, NORMALISE), views)
    empty = Views(*(whole[:0] for whole in views))
    assert equal(augment(ALWAYS, *empty, NORMALISE), empty)


def test_an_untouched_image_beside_touched_ones_stays_to_the_bit() -> None:
    views, one = batch(3), torch.tensor([False, True, False])
    seen = [
        zoom(views, torch.tensor([1.0, 1.3, 1.0]), torch.rand(3, 2)),
        mirror(views, one),
        views._replace(x=jitter(views.x, factors([1, 1, 1, 0], [0.9, 1, 1, 0.1], [1, 1, 1, 0]), NORMALISE)),
        views._replace(x=blur(views.x, torch.tensor([0.0, 1.0, 0.0]), 5)),
    ]
    for out in seen:
        assert equal(Views(*(whole[::2] for whole in out)), Views(*(whole[::2] for whole in views)))
        assert not torch.equal(out.x[1], views.x[1])


def test_intensities_of_0_and_a_scale_of_1_change_nothing() -> None:
    still = only(jitter=1.0, resize=1.0, scales=(1.0, 1.0), brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)
    views = batch()
    assert equal(augment(still, *views, NORMALISE), views)


@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("config", [ALWAYS, only()])
def test_inputs_and_memory_stay(memory: torch.memory_format, config: Augment) -> None:
    views = batch()
    views = views._replace(x=views.x.contiguous(memory_format=memory))
    before = Views(*(whole.clone() for whole in views))
    out = augment(config, *views, NORMALISE)
    assert equal(before, views)
    assert out.x.is_contiguous(memory_format=memory)
    assert [(whole.shape, whole.dtype) for whole in out] == [(whole.shape, whole.dtype) for whole in views]


# ---- geometry


@pytest.mark.parametrize("config", [only(resize=1.0), only(resize=0.5, flip=0.5), only(mix=1.0, resize=1.0, flip=0.5)])
@pytest.mark.parametrize("seed", range(3))
def test_image_label_and_confidence_agree_pixel_by_pixel(seed: int, config: Augment) -> None:
    """Colour and confidence tell the class: 0.1 * class between the borders of classes, outside 0, 0 and 255."""
    torch.manual_seed(seed)
    coarse = torch.randint(1, 10, (20, 3, 4))
    labels = coarse.repeat_interleave(8, 1).repeat_interleave(10, 2)
    colour = labels / 10
    out = augment(config, colour[:, None].repeat(1, 3, 1, 1), labels, colour, PLAIN)
    outside = out.labels == 255
    assert 0 < outside.float().mean() < 0.4
    expected = (out.labels / 10).masked_fill(outside, 0)
    same = (out.confidence - expected).abs() < 1e-3
    assert same[outside].all()
    assert 0.7 < same.float().mean() < 1  # the rest lies on borders
    assert torch.equal((out.x - expected[:, None]).abs() < 1e-3, same[:, None].expand(-1, 3, -1, -1))


@pytest.mark.parametrize("scale", [0.75, 0.9, 1.1, 1.75])
def test_a_ramp_stays_a_ramp_and_labels_are_the_nearest_pixels(scale: float) -> None:
    """The pixel at column c shows the source at (c + 0.5) / scale + first, known to 1e-3 pixels from its colour."""
    rows, columns = (axis.float() for axis in torch.meshgrid(*map(torch.arange, SIZE), indexing="ij"))
    numbers = (torch.arange(12)[:, None] * 20 + torch.arange(20)).repeat_interleave(2, 0).repeat_interleave(2, 1)
    views = Views(torch.stack([rows, columns, columns])[None], numbers[None], (columns / 40)[None])
    out = zoom(views, torch.tensor([scale]), torch.tensor([[0.3, 0.8]]))
    for axis, (side, place, plane) in enumerate([(24, 0.3, out.x[0, 0]), (40, 0.8, out.x[0, 1])]):
        first = (side - side / scale) * (place if scale > 1 else 0.5)
        source = first + (torch.arange(side) + 0.5) / scale
        inside = (source > 0) & (source < side)
        line = plane.amax(1 - axis)
        torch.testing.assert_close(line[inside], (source[inside] - 0.5).clamp(0, side - 1), rtol=0, atol=1e-3)
        assert (line[~inside] == 0).all()
    kept = out.labels != 255
    near = (out.x[0, 0] + 0.5).floor() // 2 * 20 + (out.x[0, 1] + 0.5).floor() // 2
    assert (near.long()[None] == out.labels)[kept].float().mean() > 0.95  # rounding at a border of two
    torch.testing.assert_close(out.confidence, (out.x[:, 1] / 40), rtol=0, atol=1e-5)


def test_a_reduced_image_lies_in_the_middle_and_an_enlarged_one_where_it_was_drawn() -> None:
    """24 x 40 by 0.75 is 18 x 30: 3 rows and 5 columns are empty on each side. By 2, a quarter is left."""
    views = Views(torch.ones(1, 3, *SIZE), torch.arange(960).view(1, *SIZE) % 255, torch.ones(1, *SIZE))
    out = zoom(views, torch.tensor([0.75]), torch.tensor([[0.0, 1.0]]))
    frame = torch.full(SIZE, 255)
    frame[3:21, 5:35] = out.labels[0, 3:21, 5:35]
    assert torch.equal(out.labels[0], frame)
    assert torch.equal(out.confidence[0], (frame != 255).float())
    assert torch.equal(out.x[0], (frame != 255).float().expand(3, -1, -1))
    for place, (top, left) in (((0.0, 1.0), (0, 20)), ((1.0, 0.0), (12, 0)), ((0.5, 0.25), (6, 5))):
        window = views.labels[:, top : top + 12, left : left + 20]
        out = zoom(views, torch.tensor([2.0]), torch.tensor([place]))
        assert torch.equal(out.labels, window.repeat_interleave(2, 1).repeat_interleave(2, 2))


def test_confidence_stays_within_0_and_1() -> None:
    """Weights of four neighbours add up to 1 and a rounding error: in this size, a thousandth of the pixels to more."""
    torch.manual_seed(0)
    views = Views(torch.ones(400, 3, 7, 9), torch.ones(400, 7, 9).long(), torch.ones(400, 7, 9))
    out = zoom(views, torch.rand(400) + 0.75, torch.rand(400, 2))
    assert out.confidence.max() == 1
    assert out.confidence.min() == 0


def test_two_flips_are_none() -> None:
    views, coins = batch(), torch.tensor([True, False, True, True])
    once = mirror(views, coins)
    assert torch.equal(once.labels[0], views.labels[0].fliplr())
    assert torch.equal(once.x[2, 1], views.x[2, 1].fliplr())
    assert torch.equal(once.confidence[3], views.confidence[3].fliplr())
    assert torch.equal(once.labels[1], views.labels[1])
    assert equal(mirror(once, coins), views)


# ---- colour


def test_brightness_multiplies_and_is_cut_to_what_0_to_1_becomes() -> None:
    """0.6 is (0.6 - 0.485) / 0.229 = 0.502; times 1.5 is 0.9 and 1.812; 0.8 times 1.5 is cut to 1 and 2.249."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    colours = torch.tensor([[0.6, 0.2, 0.1], [0.8, 0.9, 0.0]]).T.reshape(1, 3, 1, 2)
    x = (colours - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    out = jitter(x, factors([1.5, 1, 1, 0]), NORMALISE)
    expected = ((colours * 1.5).clamp(0, 1) - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    torch.testing.assert_close(out, expected)
    assert out[0, 0].flatten().tolist() == pytest.approx([1.8122, 2.2489], abs=1e-4)


def test_contrast_is_about_the_mean_grey_of_the_brightened_image() -> None:
    """Greys 0.2 and 0.4 times 1.5 are 0.3 and 0.6, mean 0.45: with contrast 0.5, 0.375 and 0.525."""
    x = torch.tensor([0.2, 0.4]).expand(1, 3, 1, 2)
    out = jitter(x, factors([1.5, 0.5, 1, 0]), PLAIN)
    torch.testing.assert_close(out, torch.tensor([0.375, 0.525]).expand(1, 3, 1, 2))


def test_saturation_blends_with_a_pixel_s_own_grey() -> None:
    """The grey of (0.5, 0.2, 0.1) is 0.1495 + 0.1174 + 0.0114 = 0.2783; half-way lie 0.38915, 0.23915, 0.18915."""
    x = torch.tensor([0.5, 0.2, 0.1]).view(1, 3, 1, 1)
    out = jitter(x, factors([1, 1, 0.5, 0]), PLAIN)
    assert out.flatten().tolist() == pytest.approx([0.38915, 0.23915, 0.18915])


def test_a_third_of_a_turn_leads_from_red_to_green_to_blue_and_back() -> None:
    """Pale colours, of which none is cut; the grey of each stays."""
    x = torch.tensor([0.5, 0.4, 0.4]).view(1, 3, 1, 1)
    for channel in (1, 2, 0):
        turned = jitter(x, factors([1, 1, 1, 1 / 3]), PLAIN)
        assert turned.flatten().argmax() == channel
        torch.testing.assert_close((turned.flatten() * GREY).sum(), (x.flatten() * GREY).sum())
        x = turned
    assert x.flatten().tolist() == pytest.approx([0.5, 0.4, 0.4])


def test_greys_have_neither_saturation_nor_hue() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 1, *SIZE).expand(2, 3, *SIZE)
    out = jitter(x, factors([1, 1, 1.3, 0.1], [1, 1, 0.1, -0.4]), PLAIN)
    torch.testing.assert_close(out, x.contiguous(), rtol=0, atol=1e-6)


def test_the_four_are_done_together_as_one_after_the_other_in_any_order() -> None:
    torch.manual_seed(0)
    x, each = images(), [[1.1, 1, 1, 0], [1, 0.8, 1, 0], [1, 1, 1.1, 0], [1, 1, 1, -0.07]]
    together = jitter(x, factors([1.1, 0.8, 1.1, -0.07]).expand(4, 4), PLAIN)
    assert (together - x).abs().max() > 0.05
    for order in ((0, 1, 2, 3), (3, 1, 0, 2), (2, 3, 1, 0)):
        steps = x
        for number in order:
            steps = jitter(steps, factors(each[number]).expand(4, 4), PLAIN)
        torch.testing.assert_close(together, steps, rtol=0, atol=1e-5)


def test_how_the_input_is_normalised_does_not_matter() -> None:
    torch.manual_seed(0)
    x, drawn = images(), torch.rand(4, 4) * torch.tensor([1, 1, 1, 0.3]) + torch.tensor([0.8, 0.8, 0.8, 0])
    span, black = 255 * NORMALISE.scale.view(3, 1, 1), NORMALISE.bias.view(3, 1, 1)
    plain, normal = jitter(x, drawn, PLAIN), jitter(x * span + black, drawn, NORMALISE)
    torch.testing.assert_close(normal, plain * span + black, rtol=0, atol=1e-4)
    assert plain.max() == 1
    assert not torch.equal(plain[0], jitter(x[1:], drawn[1:], PLAIN)[0])


# ---- blur


def test_blur_is_gaussian_in_both_axes() -> None:
    """A single bright pixel becomes exp(-(r^2 + c^2) / 2 sigma^2), of sum 1; sigma is the deviation found in it."""
    x = torch.zeros(2, 3, 21, 25)
    x[:, :, 10, 12] = 1
    sigmas = torch.tensor([0.7, 1.5])
    out = blur(x, sigmas, 5)
    rows, columns = torch.meshgrid(torch.arange(21) - 10, torch.arange(25) - 12, indexing="ij")
    for image, sigma in zip(out, sigmas.tolist(), strict=True):
        bell = torch.exp(-(rows**2 + columns**2) / (2 * sigma**2)) / (2 * math.pi * sigma**2)
        assert image.sum((1, 2)).tolist() == pytest.approx([1, 1, 1])
        torch.testing.assert_close(image, bell.expand(3, -1, -1), rtol=0, atol=1e-3)
        assert image.argmax() == 10 * 25 + 12
        for axis in (rows, columns):
            assert (image[0] * axis**2).sum().sqrt() == pytest.approx(sigma, rel=0.01)


def test_blur_keeps_what_is_constant_and_mixes_no_images() -> None:
    x = torch.arange(12.0).view(4, 3, 1, 1).expand(4, 3, 7, 9).contiguous()
    torch.testing.assert_close(blur(x, torch.tensor([0.1, 0.5, 1.0, 1.5]), 5), x)


def test_blur_mirrors_the_image_at_its_border() -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 3, 8, 9)
    framed = torch.cat([x[..., 1:6].flip(3), x, x[..., 3:8].flip(3)], 3)
    framed = torch.cat([framed[..., 1:6, :].flip(2), framed, framed[..., 2:7, :].flip(2)], 2)
    sigma = torch.tensor([1.2])
    torch.testing.assert_close(blur(framed, sigma, 5)[..., 5:-5, 5:-5], blur(x, sigma, 5), rtol=0, atol=1e-6)


def test_an_image_smaller_than_the_blur_is_refused() -> None:
    """Three times 2.5, rounded up, is 8; whether it is drawn or not, as long as it may be."""
    wide = {"sigma": (0.1, 2.5)}
    for probability in (1.0, 0.01):
        with pytest.raises(ConfigError, match=r"sigma: found \[0\.1, 2\.5\], .* reaches 8 pixels .* the 8 of a view's"):
            augment(ALWAYS.model_copy(update=wide | {"blur": probability}), *batch(2, (8, 8)), NORMALISE)
    augment(ALWAYS.model_copy(update=wide | {"blur": 0.0}), *batch(2, (8, 8)), NORMALISE)
    augment(ALWAYS.model_copy(update={"sigma": (0.1, 2.3)}), *batch(2, (8, 8)), NORMALISE)


# ---- draws and devices


def test_a_view_is_a_function_of_torch_s_generator_alone() -> None:
    views, found = batch(), []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append([augment(STRONG, *views, NORMALISE) for _ in range(2)])
    assert equal(found[0][0], found[1][0])
    assert equal(found[0][1], found[1][1])
    assert not equal(found[0][0], found[0][1])
    assert not equal(found[0][0], found[2][0])


def test_nothing_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors on ``meta`` have no values: whoever asks for one, for a number of pixels or for a copy fails."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # there is none for meta
    normalise = Normalise((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "meta")
    views = Views(*(whole.to("meta") for whole in batch()))
    for question in (Tensor.item, Tensor.tolist, Tensor.cpu, Tensor.nonzero, Tensor.__bool__):
        with pytest.raises((RuntimeError, NotImplementedError)):
            question(views.labels[0, 0, 0])
    out = augment(ALWAYS, *views, normalise)
    assert [whole.shape for whole in out] == [whole.shape for whole in views]


def test_autocast_does_not_cost_precision() -> None:
    views, found = batch(), []
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found.append(augment(ALWAYS, *views, NORMALISE))
    assert found[1].x.dtype == torch.float32
    assert equal(*found)


def test_no_gradient_flows_into_views() -> None:
    views = batch()
    assert not augment(ALWAYS, views.x.requires_grad_(), *views[1:], NORMALISE).x.requires_grad


@pytest.fixture
def no_waiting() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")
    torch.use_deterministic_algorithms(before)


@pytest.mark.gpu
def test_a_gpu_sees_the_same(request: pytest.FixtureRequest) -> None:
    """Labels pixel for pixel, colours to rounding errors; deterministic, and without waiting for the device."""
    views, normalise = batch(100), Normalise((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "cuda")
    there = Views(*(whole.cuda() for whole in views))
    torch.manual_seed(0)
    expected = augment(ALWAYS, *views, NORMALISE)
    augment(ALWAYS, *there, normalise)  # libraries are loaded
    torch.manual_seed(0)
    request.getfixturevalue("no_waiting")
    out = augment(ALWAYS, *there, normalise)
    torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(out.labels.cpu(), expected.labels)
    torch.testing.assert_close(out.x.cpu(), expected.x, rtol=0, atol=1e-2)
    torch.testing.assert_close(out.confidence.cpu(), expected.confidence, rtol=0, atol=1e-3)


# ---- params


def test_a_section_may_leave_out_what_the_columns_share(write_params: Callable[[str], Path]) -> None:
    text = "resize: 0.5, jitter: 0.2, brightness: 0.15, contrast: 0.15, saturation: 0.075, hue: 0.05, blur: 0, mix: 0.2"
    assert Params(write_params(f"weak: {{{text}}}\n")).section("weak", Augment).model_dump() == WEAK.model_dump()


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("scales: [1.75, 0.75]", "scales is [1.75, 0.75]; expected the lower number first"),
        ("sigma: [0.0, 1.0]", "found 0.0; expected: greater than 0"),
        ("hue: 0.6", "found 0.6; expected: less than or equal to 0.5"),
        ("mix: 1.5", "found 1.5; expected: less than or equal to 1"),
        ("brightness: -0.1", "found -0.1; expected: greater than or equal to 0"),
    ],
)
def test_what_cannot_be_is_refused(write_params: Callable[[str], Path], field: str, said: str) -> None:
    values = STRONG.model_dump(mode="json") | {"background": "true"}
    values.pop(field.split(":")[0])
    lines = [field, *(f"{name}: {value}" for name, value in values.items())]
    path = write_params("strong:\n" + "".join(f"  {line}\n" for line in lines))
    with pytest.raises(ConfigError) as caught:
        Params(path).section("strong", Augment)
    assert said in str(caught.value)
