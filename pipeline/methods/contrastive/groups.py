"""Vectors grouped by class, without a loop over classes and without asking the device how many there are.

The vectors are sorted by class and cut into blocks of equal length, and each block holds one class. Work that differs
by class is then a batched operation over blocks. The number of blocks depends on the shape alone; some stay empty.
"""

from typing import NamedTuple

import torch
from torch import Tensor

BLOCKS = 8  # blocks a class, were all classes alike: few weights to repeat, little room left over


class Ranked(NamedTuple):
    """Vectors sorted by class, those without a class last: which vector (P,), its class (P,), its place in its class
    (P,)."""

    order: Tensor
    labels: Tensor
    rank: Tensor
    counts: Tensor  # (C,) int64


def ranked(labels: Tensor, classes: int, first: Tensor | None = None) -> Ranked:
    """Sort ``labels`` (P,) int64, anything from C on being no class.

    Args:
        first: (P,) a permutation: who stands before whom within a class; by default whoever comes first.
    """
    kinds = labels.clamp(max=classes).to(torch.int16)
    order = torch.argsort(kinds if first is None else kinds[first], stable=True)
    order = order if first is None else first[order]
    grouped = labels.clamp(max=classes)[order]
    counts = torch.zeros(classes + 1, dtype=torch.long, device=labels.device)
    counts.index_add_(0, grouped, torch.ones_like(grouped))
    begins = counts.cumsum(0) - counts
    rank = torch.arange(len(labels), device=labels.device) - begins[grouped]
    return Ranked(order, grouped, rank, counts[:classes])


class Blocks(NamedTuple):
    """Where each vector goes: ``rows`` (N, T) are numbers of vectors, ``kind`` (N,) is the class of each block.

    ``filled`` (N, T) says where there is a vector; the other rows are 0.
    """

    rows: Tensor
    filled: Tensor
    kind: Tensor


def blocks_of(sorted_by_class: Ranked) -> Blocks:
    """All vectors of a class, in order, in as many blocks as it takes."""
    order, labels, rank, counts = sorted_by_class
    classes, total = len(counts), len(order)
    length = max(8, total // (BLOCKS * classes) // 8 * 8)
    number = total // length + classes
    ends = ((counts + length - 1) // length).cumsum(0)
    begins = torch.cat([ends.new_zeros(1), ends])
    place = begins[labels] * length + rank
    place = torch.where(labels < classes, place, number * length)  # of no class: behind the last block, cut off
    rows = torch.full((number * length + 1,), -1, device=order.device).index_copy_(0, place, order)[:-1]
    kind = torch.searchsorted(ends, torch.arange(number, device=ends.device), right=True).clamp(max=classes - 1)
    return Blocks(rows.clamp(min=0).view(number, length), (rows >= 0).view(number, length), kind)


def sums(values: Tensor, kind: Tensor, classes: int) -> Tensor:
    """Of blocks (N, ...) with their classes (N,), the sum over those of each class: (C, ...)."""
    return values.new_zeros(classes, *values.shape[1:]).index_add(0, kind, values)


def sample(labels: Tensor, classes: int, count: int) -> Tensor:
    """Numbers (C * count,) of ``count`` vectors of each class, drawn without replacement; where it has fewer, -1.

    Args:
        labels: (P,) int64; 255 and anything else from C on is no class.
    """
    shuffled = torch.randperm(len(labels)).to(labels.device, non_blocking=True)
    order, kinds, rank, _ = ranked(labels, classes, shuffled)
    place = torch.where((kinds < classes) & (rank < count), kinds * count + rank, classes * count)
    chosen = torch.full((classes * count + 1,), -1, device=labels.device)
    return chosen.scatter_(0, place, order)[:-1]
