"""Batches are a function of (seed, step); every image comes once an epoch; the target's true masks alone count."""

import numpy as np
import pytest
import torch

from fewmask.learning.batches import Batches, Pool, SourceSteps
from fewmask.learning.class_weights import count_pixels
from fewmask.learning.seeding import generator
from fewmask.learning.views import WeakColours, WeakViews, apply_views, draw_view
from fewmask.nets.base.normalise import Normalise

UNIT = Normalise((0.0, 0.0, 0.0), (1 / 255,) * 3)


def pool(count: int, seed: int = 0, name: str = "labelled") -> Pool:
    images = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 6, 3), np.uint8)
    return Pool(images, np.arange(count, dtype=np.uint8)[:, None, None] % 3 * np.ones((1, 4, 6), np.uint8), seed, name)


def batches(count: int = 5, batch: int = 2, seed: int = 0) -> Batches:
    still = WeakViews(scales=[1.0], flip=0, shift=0)
    return Batches([(pool(count, seed), batch)], 3, (pool(4, seed, "unlabelled"), 3), still, UNIT, 3)


def mixed(share: float, until: int = 100, batch: int = 2, views: WeakViews | None = None) -> Batches:
    """Five target images 0..4 and seven of the source domain, brighter by 100."""
    chosen = views or WeakViews(scales=[1.0], flip=0, shift=0)
    other = pool(7, name="source")
    other.images = other.images + 100
    source = SourceSteps((other, batch), share, until)
    return Batches([(pool(5), batch)], 3, (pool(4, name="unlabelled"), 3), chosen, UNIT, 3, "cpu", source)


def tagged(count: int, name: str = "labelled") -> Pool:
    """Images 0..count-1; which of five classes each shows are the bits of its number."""
    made = pool(count, name=name)
    rows = np.arange(count)[:, None] >> np.arange(5) & 1
    return Pool(made.images.numpy(), made.masks.numpy(), 0, name, tags=rows.astype(np.uint8))


def numbers(x: torch.Tensor) -> list[int]:
    """Views (B, 3, H, W) of constant images -> the numbers of these images."""
    return x[:, 0, 0, 0].round().int().tolist()


@pytest.mark.parametrize(
    ("share", "until", "steps"),
    [
        (0.5, 100, [1, 3, 5, 7, 9, 11]),
        (0.25, 100, [3, 7, 11]),
        (0.75, 100, [1, 2, 3, 5, 6, 7, 9, 10, 11]),
        (0.5, 6, [1, 3, 5]),
        (0.5, 5, [1, 3]),
        (0.0, 100, []),
        (0.5, 0, []),
    ],
)
def test_which_steps_are_the_source_s(share: float, until: int, steps: list[int]) -> None:
    """Step k is if floor((k + 1) s) > floor(k s), of those before ``until``."""
    made = [mixed(share, until)(step) for step in range(12)]
    assert [step for step, batch in enumerate(made) if batch.source] == steps
    assert all((min(numbers(batch.x_l)) >= 100) == batch.source for batch in made)
    assert all((max(numbers(batch.x_l)) >= 100) == batch.source for batch in made)


@pytest.mark.parametrize("share", [0.5, 0.3, 0.9])
@pytest.mark.parametrize("until", [100, 14])
def test_neither_domain_skips_an_image(share: float, until: int) -> None:
    """Target and source each go on where they were left, in the very order in which they would be visited alone."""
    made = [mixed(share, until)(step) for step in range(40)]
    for source, size in ((False, 5), (True, 7)):
        seen = [number % 100 for batch in made if batch.source == source for number in numbers(batch.x_l)]
        assert seen == pool(size, name="source" if source else "labelled").indices(0, len(seen))
    assert [numbers(batch.x_u) for batch in made] == [numbers(batches()(step).x_u) for step in range(40)]


def test_source_images_keep_their_masks_and_count_for_nothing() -> None:
    made = mixed(0.5)
    assert torch.equal((made(1).x_l[:, 0].round().long() - 100) % 3, made(1).y_l)
    assert made.counts.total == batches().counts.total
    assert (made.labelled_images, made.unlabelled_images) == (3, 4)


def test_without_a_share_the_views_are_those_of_no_source() -> None:
    views = WeakViews(crop=(3, 5), scales=[0.8, 1.3])
    alone = Batches([(pool(5), 2)], 3, (pool(4, name="unlabelled"), 3), views, UNIT, 3)
    for step in range(6):
        for kind in ("x_l", "y_l", "x_u"):
            assert torch.equal(getattr(mixed(0, views=views)(step), kind), getattr(alone(step), kind))


def test_views_are_drawn_by_the_step_whatever_was_drawn_before() -> None:
    """Whether a share of the earlier steps was the source's changes which image comes, not how it is seen."""
    views = WeakViews(crop=(3, 5), scales=[0.8, 1.3])
    made = mixed(0.5, views=views)
    place, rng = made.streams[0][0].indices(2 * 2, 2), generator(0, "labelled", "views", 4)
    drawn = [draw_view(views, (4, 6), rng) for _ in range(2)]
    expected, _ = apply_views(pool(5).images[place], pool(5).masks[place][:, None], drawn, UNIT)
    assert torch.equal(made(4).x_l, expected)


def test_a_batch_of_both_kinds_is_a_function_of_seed_and_step() -> None:
    views = WeakViews(crop=(3, 5), scales=[0.8, 1.3])
    first, second = mixed(0.5, views=views), mixed(0.5, views=views)
    for step in range(5):
        first(step)
    for step in (5, 4):
        assert torch.equal(first(step).x_l, second(step).x_l)
        assert torch.equal(first(step).y_l, second(step).y_l)


def test_other_colours_are_a_function_of_seed_and_step_and_leave_masks_and_torch_alone() -> None:
    plain, views = batches(), WeakViews(scales=[1.0], flip=0, shift=0, colours=WeakColours(jitter=1.0, blur=0.0))
    coloured = Batches(plain.streams, 3, plain.unlabelled, views, UNIT, 3)
    torch.manual_seed(0)
    first, state = coloured(1), torch.get_rng_state()
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    again, same = coloured(1), plain(1)
    assert torch.equal(first.x_l, again.x_l)
    assert torch.equal(first.x_u, again.x_u)
    assert torch.equal(first.y_l, same.y_l)
    assert not torch.equal(first.x_l, same.x_l)
    assert not torch.equal(coloured(2).x_l - plain(2).x_l, first.x_l - same.x_l)


def test_each_image_once_an_epoch_and_in_another_order_the_next():
    one = pool(7)
    epochs = [one.indices(start, 7) for start in (0, 7)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(7))] * 2
    assert epochs[0] != epochs[1]
    assert one.indices(5, 4) == epochs[0][5:] + epochs[1][:2]


def test_a_batch_larger_than_the_pool_wraps():
    assert batches(count=3, batch=8)(0).x_l.shape == (8, 3, 4, 6)


def test_a_function_of_seed_and_step():
    first, second = batches(), batches()
    second(0), second(1)
    assert torch.equal(first(2).x_l, second(2).x_l)
    assert torch.equal(first(2).x_u, second(2).x_u)
    assert not all(torch.equal(first(step).x_l, batches(seed=1)(step).x_l) for step in range(4))


@pytest.mark.parametrize("second", [0, 1, 3])
def test_images_keep_their_tags(second: int) -> None:
    """From one stream or two, over the end of an epoch, whatever the view shows."""
    streams = [(tagged(17), 4), (tagged(31, "joined"), second)][: 2 if second else 1]
    views = WeakViews(crop=(1, 2), scales=[1.5])
    made = Batches(streams, 3, (pool(4, name="unlabelled"), 2), views, UNIT, 5)
    for step in range(12):
        z = made(step).z_l
        expected = [number for one, count in streams for number in one.indices(step * count, count)]
        assert z.dtype == torch.float32
        assert (z * 2 ** torch.arange(5)).sum(1).tolist() == expected
    still = Batches(streams, 3, (pool(4, name="unlabelled"), 2), WeakViews(scales=[1.0], flip=0, shift=0), UNIT, 5)
    assert (still(7).z_l * 2 ** torch.arange(5)).sum(1).tolist() == numbers(still(7).x_l)


def test_without_tags_nobody_says_which_classes_occur() -> None:
    assert batches()(0).z_l is None
    assert [mixed(0.5)(step).z_l for step in range(2)] == [None, None]


def test_tags_change_nothing_else() -> None:
    alone = Batches([(pool(5), 2)], 3, (pool(4, name="unlabelled"), 3), WeakViews(crop=(3, 5)), UNIT, 3)
    with_tags = Batches([(tagged(5), 2)], 3, (pool(4, name="unlabelled"), 3), WeakViews(crop=(3, 5)), UNIT, 3)
    for step in range(6):
        for kind in ("x_l", "y_l", "x_u"):
            assert torch.equal(getattr(with_tags(step), kind), getattr(alone(step), kind))


def test_images_keep_their_masks():
    batch = batches()(3)
    assert torch.equal(batch.x_l[:, 0].round().long() % 3, batch.y_l)
    assert batch.y_l.dtype == torch.int64


def test_labelled_gives_true_masks_only_in_order():
    x, y = next(batches().labelled())
    assert x[:, 0, 0, 0].round().tolist() == [0, 1, 2]
    assert y[:, 0, 0].tolist() == [0, 1, 2]
    assert batches().counts.total == 3 * 24


def test_counts():
    """Class 0: 3 pixels in one image; class 1: 2 pixels in both; void 3; images of 4 pixels."""
    counts = count_pixels(np.array([[[0, 0], [0, 1]], [[1, 255], [255, 255]]], np.uint8), 3)
    assert counts.per_class.tolist() == [3, 2, 0]
    assert counts.where_present.tolist() == [4, 8, 0]
    assert counts.total == 8
