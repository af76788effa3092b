"""What the contrastive loss is measured on: vectors, a full memory, and the ways to compute it.

P vectors of 256 numbers, 256 a class in the memory, forward and backward. ``exact`` takes all vectors, ``sampled`` 1024
a class, drawn anew; ``products`` is what ``exact`` cannot go below; ``reference`` is contrast_reference.py, the
released code's manner.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.contrast_reference import PairwiseLoss, gathered
from benchmarks.timing import Bench
from fewmask.methods.contrastive.attention import ClassAttention
from fewmask.methods.contrastive.groups import sample
from fewmask.methods.contrastive.loss import contrastive_loss
from fewmask.methods.contrastive.memory import Memory

CHANNELS, SIZE, DRAWN = 256, 256, 1024


def cases(bench: Bench) -> list[tuple[int, int]]:
    """P and C."""
    return [(5000, 19)] if bench.quick else [(total, classes) for total in (37000, 100000) for classes in (19, 21)]


@dataclass
class Case:
    """P vectors around the centre of their class, a full memory, and parameters that both ways share."""

    vectors: Tensor
    labels: Tensor
    memory: Memory
    attention: ClassAttention
    memory_attention: ClassAttention
    reference: PairwiseLoss

    @classmethod
    def make(cls, total: int, classes: int, device: str) -> "Case":
        torch.manual_seed(0)
        side = int(total**0.5) + 1
        field = F.interpolate(torch.randn(1, classes, 9, 9), (side, side), mode="bilinear")  # regions, as in a mask
        labels = field[0].argmax(0).flatten()[:total].to(device)
        centres = torch.randn(classes, CHANNELS, device=device)
        memory = Memory(classes, SIZE, CHANNELS).to(device)
        noise = torch.randn(classes, SIZE, CHANNELS, device=device)
        memory.vectors.copy_(F.normalize(centres[:, None] + noise, dim=2))
        memory.filled.fill_(SIZE)
        attention, other = (ClassAttention(classes, CHANNELS, CHANNELS).to(device) for _ in range(2))
        reference = PairwiseLoss([each.cpu().numpy().copy() for each in memory.vectors], attention, other)
        vectors = torch.randn(total, CHANNELS, device=device)
        vectors += centres[labels]
        return cls(vectors.requires_grad_(), labels, memory, attention, other, reference)

    def clear(self) -> None:
        for leaf in (self.vectors, *self.attention.parameters(), *self.memory_attention.parameters()):
            leaf.grad = None
        self.reference.zero_grad()

    def of_reference(self) -> Tensor:
        self.clear()
        loss = self.reference(self.vectors, self.labels)
        loss.backward()
        return loss.detach()

    def of_exact(self) -> Tensor:
        self.clear()
        loss = contrastive_loss(self.vectors, self.labels, self.memory, self.attention, self.memory_attention)
        loss.backward()
        return loss.detach()

    def of_sampled(self) -> Tensor:
        self.clear()
        drawn = sample(self.labels, len(self.memory.filled), DRAWN)
        rows = drawn[drawn >= 0]
        vectors, labels = self.vectors.index_select(0, rows), self.labels[rows]
        loss = contrastive_loss(vectors, labels, self.memory, self.attention, self.memory_attention)
        loss.backward()
        return loss.detach()

    def of_products(self) -> Tensor:
        """The two large products of the attention alone, in equal parts: what an exact loss cannot go below."""
        classes, channels, _ = self.attention.inner.shape
        x = self.vectors.detach()[: len(self.vectors) // classes * classes].view(classes, -1, channels)
        return torch.bmm(x.transpose(1, 2), torch.bmm(x, self.attention.inner.detach()))

    def require_equal(self) -> None:
        """Value and gradients of ``exact`` are those of ``reference``."""
        theirs, to_theirs = self.of_reference(), [self.gradient()]
        modules = (self.reference.attention, self.reference.memory_attention)
        to_theirs += [g for module in modules for g in gathered(module)]
        ours, to_ours = self.of_exact(), [self.gradient()]
        for attention in (self.attention, self.memory_attention):
            names = ("inner", "scale", "shift", "outer", "bias")
            to_ours += [getattr(attention, name).grad for name in names]
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
        for found, expected in zip(to_ours, to_theirs, strict=True):
            assert (found - expected).norm() < 1e-3 * expected.norm()  # the tests have 1e-9, in float64
        self.clear()

    def gradient(self) -> Tensor:
        """Of the vectors, after a call."""
        assert self.vectors.grad is not None
        return self.vectors.grad


def named(total: int, classes: int) -> str:
    """The case in words."""
    return f"P = {total}, C = {classes}"
