"""Jigsaw puzzles: the table by its rule, a worked image, what moves and what stays."""

from itertools import permutations

import numpy as np
import pytest
import torch

from fewmask.methods.selene.jigsaw import TABLE, Puzzles, draw_puzzles, reordered


def puzzles(*classes: int) -> Puzzles:
    return Puzzles(TABLE[list(classes)], torch.tensor(classes))


# ---- the table


def test_the_table_is_drawn_again():
    """Each order is farthest from its nearest; of equals, from all; of these one is drawn."""
    every = np.array(list(permutations(range(9))), np.uint8)
    rng, chosen, row = np.random.default_rng(0), [], 0
    nearest, total = np.full(len(every), 10), np.zeros(len(every), int)
    for _ in range(100):
        chosen.append(every[row])
        distance = (every != every[row]).sum(1)
        nearest, total = np.minimum(nearest, distance), total + distance
        best = np.flatnonzero(nearest == nearest.max())
        best = best[total[best] == total[best].max()]
        row = best[rng.integers(len(best))]
    assert np.array_equal(np.stack(chosen), TABLE.numpy())


def test_orders_are_far_from_each_other():
    assert (TABLE.dtype, TABLE.shape) == (torch.int64, (100, 9))
    assert TABLE[0].tolist() == list(range(9))
    assert (TABLE.sort(1).values == torch.arange(9)).all()
    distances = (TABLE[:, None] != TABLE).sum(2)[~torch.eye(100, dtype=torch.bool)]
    assert distances.min() == 6
    assert distances.float().mean().item() == pytest.approx(8.08, abs=0.005)


# ---- what it does to images


def test_a_worked_puzzle():
    """Tile i is taken from place orders[i]; tiles of 1 x 2."""
    order = torch.tensor([[8, 0, 1, 2, 3, 4, 5, 6, 7]])
    image = torch.arange(1, 10).repeat_interleave(2).view(1, 3, 6)
    expected = [[9, 9, 1, 1, 2, 2], [3, 3, 4, 4, 5, 5], [6, 6, 7, 7, 8, 8]]
    assert reordered(image, order)[0].tolist() == expected


def test_tiles_move_whole_and_each_image_has_its_own_order():
    x = torch.arange(2.0 * 2 * 6 * 9).view(2, 2, 6, 9)
    found = puzzles(5, 42)(x)
    for number, row in enumerate((5, 42)):
        for place, origin in enumerate(TABLE[row].tolist()):
            to, of = (np.s_[:, 2 * (k // 3) : 2 * (k // 3) + 2, 3 * (k % 3) : 3 * (k % 3) + 3] for k in (place, origin))
            assert torch.equal(found[number][to], x[number][of])


def test_image_and_labels_move_alike():
    x = torch.rand(3, 3, 20, 31)
    labels = (x[:, 0] * 255).long()
    drawn = puzzles(3, 0, 99)
    assert torch.equal((drawn(x)[:, 0] * 255).long(), drawn(labels))


@pytest.mark.parametrize("shape", [(3, 12, 15), (3, 14, 16), (12, 15), (5, 2, 2)])
def test_the_inverse_orders_undo(shape):
    maps = torch.rand(4, *shape)
    drawn = puzzles(7, 8, 0, 99)
    inverse = drawn.orders.argsort(1)
    assert torch.equal(reordered(drawn(maps), inverse), maps)
    assert torch.equal(drawn(reordered(maps, inverse)), maps)


def test_rows_and_columns_beyond_a_multiple_of_3_stay():
    x = torch.rand(2, 3, 32, 49)
    found = puzzles(1, 2)(x)
    assert torch.equal(found[:, :, 30:], x[:, :, 30:])
    assert torch.equal(found[..., 48:], x[..., 48:])
    assert torch.equal(found[:, :, :30, :48], puzzles(1, 2)(x[:, :, :30, :48]))
    assert not torch.equal(found, x)


def test_class_0_is_the_image_as_it_is():
    x = torch.rand(2, 3, 9, 9)
    assert torch.equal(puzzles(0, 0)(x), x)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
def test_type_and_memory_stay_and_the_input_too(dtype, memory):
    x = torch.randint(0, 255, (2, 3, 10, 12)).to(dtype).contiguous(memory_format=memory)
    before = x.clone()
    found = puzzles(1, 2)(x)
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=memory)
    assert torch.equal(x, before)


# ---- which are drawn


def test_orders_are_those_of_the_classes():
    drawn = draw_puzzles(50)
    assert torch.equal(drawn.orders, TABLE[drawn.classes])
    assert (drawn.classes.dtype, drawn.classes.shape) == (torch.int64, (50,))


def test_all_rows_are_drawn_alike():
    """10,000 draws of 100: 100 each, deviation 10."""
    torch.manual_seed(0)
    counts = draw_puzzles(10_000).classes.bincount(minlength=100)
    assert counts.min() > 60
    assert counts.max() < 140


def test_a_share_of_the_images_is_left_alone():
    """0.3 of 1000, less 1 in 100 that draw the identity: 297 expected, deviation 14. Without chance none."""
    torch.manual_seed(0)
    assert 240 < (draw_puzzles(1000, 0.3).classes > 0).sum() < 360
    drawn = draw_puzzles(1000, 0.0)
    assert not drawn.classes.any()
    assert (drawn.orders == torch.arange(9)).all()


def test_puzzles_are_a_function_of_torch_s_generator_alone():
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(torch.cat([draw_puzzles(20, 0.5).classes for _ in range(2)]))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert not torch.equal(*found[0].chunk(2))
