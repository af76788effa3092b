"""ClassMix moves whole classes of the next image, with their pixels, labels and confidences."""

import pytest
import torch
from torch import Tensor

from fewmask.consistency.classmix import Views, classmix, drawn_classes

SIZE = (6, 8)


def batch(labels: Tensor) -> Views:
    """Labels (B, H, W) int64, with images and confidences in which no number stands twice."""
    count = labels.numel()
    x = torch.arange(3.0 * count).view(len(labels), 3, *labels.shape[1:])
    return Views(x, labels, torch.arange(count).view_as(labels) / count)


def stripes(*codes: list[int]) -> Tensor:
    """One map (2 * 12, 5) for each list: its codes in rows of equal height."""
    return torch.stack([torch.tensor(row).repeat_interleave(24 // len(row)) for row in codes])[:, :, None].repeat(
        1, 1, 5
    )


def noise(count: int = 4, classes: int = 6) -> Tensor:
    """A sixth of the pixels is ignored."""
    found = torch.randint(classes + 1, (count, *SIZE))
    return found.masked_fill(found == classes, 255)


def received(views: Views, mixed: Views) -> Tensor:
    """(B, H, W) bool: which pixels are no longer their own image's."""
    return mixed.x[:, 0] != views.x[:, 0]


@pytest.mark.parametrize(("codes", "moved"), [([7], 1), ([3, 7], 2), ([0, 3, 7], 2), ([0, 3, 7, 254], 3)])
def test_half_of_the_classes_and_one_more_are_moved(codes: list[int], moved: int) -> None:
    """floor(n / 2) + 1 of n: 1 of 1, 2 of 2, 2 of 3, 3 of 4; each image gives to the one before it."""
    torch.manual_seed(0)
    views, seen = batch(stripes(codes, [9], [9])), set()
    for _ in range(40):
        mixed = classmix(*views, probability=1.0)
        taken = received(views, mixed)
        assert taken[:2].all()  # from 1 and 2: their one class
        chosen = mixed.labels[2][taken[2]].unique().tolist()  # 2 from 0
        assert len(chosen) == moved
        assert torch.equal(taken[2], torch.isin(views.labels[0], torch.tensor(chosen)))
        seen.add(tuple(chosen))
    assert len(seen) == {1: 1, 2: 1, 3: 3, 4: 4}[len(codes)]  # every choice there is


def test_images_draw_their_own_classes() -> None:
    """2 of 3 from equal maps: each class is left out by 33 of 100, deviation 5."""
    torch.manual_seed(0)
    views = batch(stripes([1, 2, 3]).repeat(100, 1, 1))
    chosen = received(views, classmix(*views, probability=1.0))[:, [0, 8, 16], 0]
    assert (chosen.sum(1) == 2).all()
    assert all(15 < count < 50 for count in (~chosen).sum(0).tolist())


def test_each_class_is_drawn_as_often() -> None:
    """3 of 4, 400 times: 300 of each, deviation 9."""
    torch.manual_seed(0)
    orders = torch.rand(400, 256).argsort(1)
    counts = drawn_classes(stripes([1, 5, 6, 200]).expand(400, -1, -1), orders).sum(0)
    assert counts.nonzero().flatten().tolist() == [1, 5, 6, 200]
    assert all(255 < count < 345 for count in counts[counts > 0].tolist())


@pytest.mark.parametrize("seed", range(5))
def test_every_pixel_is_its_own_or_the_next_image_s_at_the_same_place(seed: int) -> None:
    torch.manual_seed(seed)
    views = batch(noise())
    mixed = classmix(*views, probability=1.0)
    taken = received(views, mixed)
    for whole, out in zip(views, mixed, strict=True):
        where = taken[:, None] if whole.dim() == 4 else taken
        assert torch.equal(out, torch.where(where, torch.cat([whole[1:], whole[:1]]), whole))
    assert 0 < taken.float().mean() < 1
    assert not ((mixed.labels == 255) & taken).any()
    assert ((mixed.labels == 255) & ~taken).any()


def test_the_first_classes_in_the_order_are_drawn() -> None:
    order = torch.arange(255, -1, -1).repeat(3, 1)  # 255 comes first, and does not count
    chosen = drawn_classes(stripes([0, 1, 2, 3], [255, 0, 4, 255], [255]), order)
    assert [row.nonzero().flatten().tolist() for row in chosen] == [[1, 2, 3], [0, 4], []]


def test_background_stays_where_there_are_other_classes() -> None:
    """Without it, two classes are left of three: both are drawn; of itself alone, or with ignored pixels, it is."""
    order = torch.arange(256).repeat(3, 1)
    maps = stripes([0, 5, 9], [0], [0, 255])
    chosen = [row.nonzero().flatten().tolist() for row in drawn_classes(maps, order, background=False)]
    assert chosen == [[5, 9], [0], [0]]
    assert drawn_classes(maps, order)[0].nonzero().flatten().tolist() == [0, 5]


@pytest.mark.parametrize("background", [True, False])
def test_background_is_what_the_argument_says(background: bool) -> None:
    torch.manual_seed(0)
    views = batch(stripes([0, 1], [2, 2]))
    mixed = classmix(*views, probability=1.0, background=background)
    assert ((mixed.labels[1] == 0) & received(views, mixed)[1]).any() == background


def test_an_image_without_classes_gives_nothing_and_receives() -> None:
    torch.manual_seed(0)
    views = batch(stripes([255], [3]))
    mixed = classmix(*views, probability=1.0)
    assert torch.equal(mixed.labels, stripes([3], [3]))
    assert torch.equal(mixed.x[1], views.x[1])


def test_one_image_and_none_stay() -> None:
    torch.manual_seed(0)
    for labels in (noise(1), noise(0)):
        views = batch(labels)
        for whole, out in zip(views, classmix(*views, probability=1.0), strict=True):
            assert torch.equal(whole, out)


def test_a_coin_is_thrown_for_each_image() -> None:
    """1000 images of one class, each another: what changes was mixed. 300 expected, deviation 14."""
    torch.manual_seed(0)
    views = batch(torch.arange(200).repeat(5).view(-1, 1, 1).repeat(1, 1, 2))
    mixed = received(views, classmix(*views, probability=0.3)).all((1, 2))
    assert 240 < mixed.sum() < 360
    assert not received(views, classmix(*views, probability=0.0)).any()


@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
def test_inputs_and_memory_stay(memory: torch.memory_format) -> None:
    torch.manual_seed(0)
    views = batch(noise())
    views = views._replace(x=views.x.contiguous(memory_format=memory))
    before = [whole.clone() for whole in views]
    mixed = classmix(*views, probability=1.0)
    assert all(torch.equal(*pair) for pair in zip(before, views, strict=True))
    assert mixed.x.is_contiguous(memory_format=memory)
    assert mixed.labels.dtype == torch.int64


def test_a_mix_is_a_function_of_torch_s_generator_alone() -> None:
    views, found = batch(noise(8)), []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append([classmix(*views, probability=0.5).x for _ in range(2)])
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert not torch.equal(found[0][0], found[0][1])
    assert not torch.equal(found[0][0], found[2][0])


def test_a_label_beyond_a_byte_is_refused() -> None:
    with pytest.raises(RuntimeError):
        classmix(*batch(torch.full((2, *SIZE), 256)), probability=1.0)
