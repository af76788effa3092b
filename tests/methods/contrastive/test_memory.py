"""The memory bank: the best of each class enter, the oldest leave."""

import pytest
import torch
from torch.nn import functional as F

from fewmask.methods.contrastive.memory import Memory


def bank(size: int = 4, classes: int = 3) -> Memory:
    return Memory(classes, size, 2)


def along(*angles: float) -> torch.Tensor:
    """Unit vectors at angles of degrees, three times as long."""
    turns = torch.tensor(angles).deg2rad()
    return 3 * torch.stack([turns.cos(), turns.sin()], 1)


def stored(memory: Memory, c: int) -> list[float]:
    """The angles of one class in the bank, sorted."""
    vectors = memory.vectors[c, : int(memory.filled[c])]
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))
    return sorted(round(float(torch.atan2(y, x).rad2deg())) for x, y in vectors)


def test_the_highest_scores_of_each_class_enter():
    memory = bank()
    labels = torch.tensor([0, 2, 0, 2, 0, 255, 0])
    scores = torch.tensor([0.1, 0.2, 0.9, 0.1, 0.8, 1.0, 0.3])
    memory.push(along(0, 10, 20, 30, 40, 50, 60), labels, scores, 2)
    assert stored(memory, 0) == [20, 40]
    assert stored(memory, 1) == []
    assert stored(memory, 2) == [10, 30]


def test_the_oldest_leave_first():
    memory = bank(size=4)
    for first in (0, 20, 40):
        memory.push(along(first, first + 10), torch.zeros(2, dtype=torch.long), torch.rand(2), 2)
    assert stored(memory, 0) == [20, 30, 40, 50]
    memory.push(along(60), torch.zeros(1, dtype=torch.long), torch.rand(1), 2)
    remaining = stored(memory, 0)
    assert len(remaining) == 4
    assert 60 in remaining
    assert {40, 50} <= set(remaining)  # one of the pair before them left


@pytest.mark.parametrize("count", [4, 9])
def test_no_more_than_its_size_enter_at_once(count):
    memory = bank(size=4)
    memory.push(along(0, 10, 20, 30, 40, 50), torch.ones(6, dtype=torch.long), torch.arange(6.0), count)
    assert stored(memory, 1) == [20, 30, 40, 50]
    assert memory.filled.tolist() == [0, 4, 0]


def test_pushing_nothing_changes_nothing():
    memory = bank()
    memory.push(along(0, 10), torch.tensor([0, 1]), torch.rand(2), 3)
    before = {name: value.clone() for name, value in memory.state_dict().items()}
    memory.push(along(50, 60), torch.tensor([255, 255]), torch.rand(2), 3)
    memory.push(along(), torch.tensor([], dtype=torch.long), torch.rand(0), 3)
    assert all(torch.equal(before[name], value) for name, value in memory.state_dict().items())


def test_its_state_goes_on_where_it_was():
    one, other = bank(), bank()
    generator = torch.Generator().manual_seed(0)
    pushes = [torch.randn(5, 2, generator=generator) for _ in range(6)]
    labels, scores = torch.tensor([0, 1, 1, 0, 2]), torch.rand(5, generator=generator)
    for vectors in pushes[:3]:
        one.push(vectors, labels, scores, 2)
    other.load_state_dict(one.state_dict())
    for vectors in pushes[3:]:
        one.push(vectors, labels, scores, 2)
        other.push(vectors, labels, scores, 2)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_blocks_say_what_is_filled():
    memory = bank(size=3)
    memory.push(along(0, 10), torch.tensor([1, 1]), torch.rand(2), 3)
    blocks = memory.blocks()
    assert blocks.filled.tolist() == [[False] * 3, [True, True, False], [False] * 3]
    assert blocks.kind.tolist() == [0, 1, 2]
    assert F.normalize(memory.vectors[1, :2]).allclose(memory.vectors[1, :2])
