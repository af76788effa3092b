"""Eqs. (8) to (11) of "Semi-Supervised Semantic Segmentation with Pixel-Level Contrastive Learning from a Class-wise
Memory Bank", as a sum over vectors instead of pairs.

The weights of eq. (8) sum to |P_c| and |Z_c|, so the double sum of eq. (11) over one class is

    1 - <p, z>,  p = sum_i s_i p_i / sum_i s_i,  z = sum_j u_j z_j / sum_j u_j,

of unit vectors p_i and z_j and their attention s_i and u_j: one product per vector, <p_i, z>, and no pair at all. A
class of the bank acts through one vector, the attention-weighted mean of its unit vectors.
"""

from typing import Any

import torch
from torch import Tensor

from fewmask.methods.contrastive.attention import ClassAttention
from fewmask.methods.contrastive.groups import Blocks, blocks_of, ranked, sums
from fewmask.methods.contrastive.memory import Memory

EPS = 1e-12


def prototypes(memory: Memory, attention: ClassAttention | None) -> Tensor:
    """z (C, D): the weighted mean of each class's unit vectors; 0 of a class without any.

    ``attention: None``, all weigh alike: what the authors' code does, where each weight is divided by itself.
    """
    blocks = memory.blocks()
    weights = attention(memory.vectors, blocks) if attention else blocks.filled.to(memory.vectors.dtype)
    total = weights.sum(1, keepdim=True).clamp(min=EPS)
    return (weights[:, None] @ memory.vectors).squeeze(1) / total


def contrastive_loss(
    vectors: Tensor,
    labels: Tensor,
    memory: Memory,
    attention: ClassAttention,
    memory_attention: ClassAttention | None,
    *,
    unit: bool = True,
) -> Tensor:
    """Eq. (11): the mean over all C classes; one that is absent here or in the bank counts 0.

    No host synchronisation; float32 (or float64) whatever autocast says, since 1 - <p, z> cancels.

    Args:
        vectors: p (P, D), of the prediction head.
        labels: (P,) int64; 255 is no class.
        unit: the attention sees unit vectors; or p as it is, as in the authors' code.
    """
    classes = len(memory.filled)
    if not len(vectors):
        return vectors.sum()
    with torch.autocast(vectors.device.type, enabled=False):
        vectors = vectors.to(memory.vectors.dtype)
        targets = prototypes(memory, memory_attention)
        blocks = blocks_of(ranked(labels, classes))
        inverse = 1 / torch.linalg.vector_norm(vectors.detach(), dim=1).clamp(min=EPS)
        lengths = (blocks.filled, blocks.filled * inverse[blocks.rows])
        before, after = reversed(lengths) if unit else lengths
        seen = vectors.detach().index_select(0, blocks.rows.flatten()).view(*blocks.rows.shape, -1)
        seen.mul_(before[..., None])
        similar: Tensor = _Similarity.apply(vectors, labels, inverse, targets, seen, after, blocks)
        weights = attention(seen, blocks)  # after `similar`: so that its backward pass ends before the other's begins
        total = sums(weights.sum(1), blocks.kind, classes)
        distance = (weights * (1 - similar)).sum(1)
        loss = sums(distance, blocks.kind, classes) / total.clamp(min=EPS)
        return loss.masked_fill(memory.filled == 0, 0).sum() / classes


class _Similarity(torch.autograd.Function):
    """<p_i / |p_i|, z> of each vector in ``blocks`` with the target of its class; no product of vectors with all C.

    ``seen`` (N, T, D) times ``after`` (N, T) are the unit vectors.
    """

    @staticmethod
    def forward(
        ctx: Any,
        vectors: Tensor,
        labels: Tensor,
        inverse: Tensor,
        targets: Tensor,
        seen: Tensor,
        after: Tensor,
        blocks: Blocks,
    ) -> Tensor:
        similar = torch.linalg.vecdot(seen, targets[blocks.kind][:, None]).mul_(after)
        ctx.save_for_backward(vectors, labels, inverse, targets, seen, after, similar, *blocks)
        return similar

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        vectors, labels, inverse, targets, seen, after, similar, rows, filled, kind = ctx.saved_tensors
        place = torch.where(filled, rows, len(vectors)).flatten()
        along, apart = (
            vectors.new_zeros(len(vectors) + 1).scatter_(0, place, values.flatten())[:-1] * inverse
            for values in (similar, gradient)
        )
        to_vectors = targets.index_select(0, labels.clamp(max=len(targets) - 1))
        to_vectors.addcmul_(vectors, along[:, None], value=-1).mul_(apart[:, None])
        to_targets = ((gradient * after)[:, None] @ seen).squeeze(1)
        return to_vectors, None, None, sums(to_targets, kind, len(targets)), None, None, None
