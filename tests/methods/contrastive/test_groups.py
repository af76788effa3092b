"""Grouping by class: every vector in one place of its class, and a fair sample of each."""

import pytest
import torch
from torch import Tensor

from fewmask.methods.contrastive.groups import blocks_of, ranked, sample

C, VOID = 5, 255


def random_labels(total: int, seed: int = 0) -> Tensor:
    """Of classes 0, 1, 3, 4, unevenly many, and void; class 2 is absent."""
    draw = torch.Generator().manual_seed(seed)
    shares = torch.tensor([1.0, 30.0, 5.0, 0.3, 4.0])
    return torch.tensor([0, 1, 3, 4, VOID])[torch.multinomial(shares, total, True, generator=draw)]


CASES = {
    "none": [],
    "one": [3],
    "one void": [VOID],
    "all void": [VOID] * 9,
    "one class": [4] * 200,
    "each once": [4, 3, 2, 1, 0],
    "ten": random_labels(10).tolist(),
    "some hundred": random_labels(700).tolist(),
    "thousands": random_labels(5000).tolist(),
}


@pytest.fixture(params=CASES)
def labels(request) -> Tensor:
    return torch.tensor(CASES[request.param], dtype=torch.long)


def members(labels: Tensor, c: int) -> list[int]:
    return (labels == c).nonzero().squeeze(1).tolist()


def test_ranked_sorts_by_class_and_keeps_the_order_within(labels):
    order, kinds, rank, counts = ranked(labels, C)
    expected = [number for c in range(C) for number in members(labels, c)]
    assert order.tolist() == expected + members(labels, VOID)
    assert kinds.tolist() == labels[order].clamp(max=C).tolist()
    assert counts.tolist() == [len(members(labels, c)) for c in range(C)]
    assert rank[: len(expected)].tolist() == [i for count in counts.tolist() for i in range(count)]


def test_ranked_lets_others_stand_first(labels):
    first = torch.randperm(len(labels), generator=torch.Generator().manual_seed(3))
    order, kinds, _, _ = ranked(labels, C, first)
    place = {number: i for i, number in enumerate(first.tolist())}
    for c in range(C):
        assert order[kinds == c].tolist() == sorted(members(labels, c), key=place.__getitem__)


def test_every_vector_is_in_one_block_of_its_class_in_order(labels):
    rows, filled, kind = blocks_of(ranked(labels, C))
    for c in range(C):
        assert rows[kind == c][filled[kind == c]].tolist() == members(labels, c)
    assert filled.sum() == (labels != VOID).sum()
    assert (rows[~filled] == 0).all()
    assert (kind.diff() >= 0).all()
    assert kind.min() >= 0
    assert kind.max() < C


def test_the_number_of_blocks_depends_on_the_shape_alone():
    """So that nobody has to ask the device; and they have little more room than there are vectors."""
    shapes = {blocks_of(ranked(labels, C)).rows.shape for labels in (random_labels(5000), torch.zeros(5000).long())}
    assert len(shapes) == 1
    blocks, length = shapes.pop()
    assert 5000 <= blocks * length <= 5000 * 1.2


@pytest.mark.parametrize("count", [1, 3, 50, 10_000])
def test_sample_has_count_of_each_class_or_all_of_them(labels, count):
    drawn = sample(labels, C, count).view(C, count)
    for c in range(C):
        chosen, own = drawn[c][drawn[c] >= 0].tolist(), members(labels, c)
        assert len(chosen) == min(count, len(own))
        assert len(set(chosen)) == len(chosen)  # without replacement
        assert set(chosen) <= set(own)


def test_sample_follows_the_seed():
    labels, drawn = random_labels(700), []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(sample(labels, C, 20))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_sample_draws_every_vector_of_a_class_equally_often():
    """Each of 12 is among the 4 drawn in a third of 3000 draws, give or take five standard deviations (129)."""
    torch.manual_seed(0)
    labels = torch.tensor([1, 0, VOID] * 12)
    times = torch.zeros(len(labels), dtype=torch.long)
    for _ in range(3000):
        times += torch.bincount(sample(labels, C, 4)[:8].clamp(min=0), minlength=len(labels))
    assert (times[labels == VOID] == 0).all()
    assert (times[labels != VOID] - 1000).abs().max() < 129
