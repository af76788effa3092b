"""The memory bank: the newest vectors of each class, first in, first out."""

import torch
from torch import Tensor, nn

from fewmask.methods.contrastive.groups import Blocks, ranked


class Memory(nn.Module):
    """``size`` unit vectors of ``channels`` numbers for each class, in buffers, so that a training can be resumed."""

    vectors: Tensor
    filled: Tensor
    next: Tensor

    def __init__(self, classes: int, size: int, channels: int):
        super().__init__()
        self.register_buffer("vectors", torch.zeros(classes, size, channels))
        self.register_buffer("filled", torch.zeros(classes, dtype=torch.long))  # vectors in the bank
        self.register_buffer("next", torch.zeros(classes, dtype=torch.long))  # where the next one goes

    @torch.no_grad()
    def push(self, vectors: Tensor, labels: Tensor, scores: Tensor, count: int) -> None:
        """Take in, of each class, the ``count`` vectors of the highest scores; the oldest go.

        Args:
            vectors: (P, D), made unit vectors here.
            labels: (P,) int64.
            scores: (P,).
        """
        classes, size, _ = self.vectors.shape
        order, kinds, rank, found = ranked(labels, classes, scores.argsort(descending=True, stable=True))
        count = min(count, size)
        keep = ((kinds < classes) & (rank < count)).nonzero().squeeze(1)
        kinds, place = kinds[keep], (self.next[kinds[keep]] + rank[keep]) % size
        unit = nn.functional.normalize(vectors[order[keep]].to(self.vectors.dtype), dim=1)
        self.vectors[kinds, place] = unit
        taken = found.clamp(max=count)
        self.next.copy_((self.next + taken) % size)
        self.filled.copy_((self.filled + taken).clamp(max=size))

    def blocks(self) -> Blocks:
        """The bank as one block a class, for the attention."""
        classes, size, _ = self.vectors.shape
        places = torch.arange(size, device=self.filled.device)
        filled = places < self.filled[:, None]
        return Blocks(places.expand(classes, size), filled, torch.arange(classes, device=filled.device))
