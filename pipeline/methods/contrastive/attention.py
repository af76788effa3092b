"""Class-wise attention S_c: one small network for each class weighs the vectors of that class.

"Semi-Supervised Semantic Segmentation with Pixel-Level Contrastive Learning from a Class-wise Memory Bank" (ICCV 2021),
eq. (8) and section 4.2: Linear, batch norm, leaky ReLU, Linear, sigmoid. All classes run at once.

Choices: the slope is 0.2 (the authors' code). Batch norm always uses the statistics of its input, the vectors of one
class. In the code the modules are never in evaluation mode. Batch norm cancels the first bias, so there is none.
Vectors get no gradient (code; the paper is silent). So the vectors cannot change to raise their own weights.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from fewmask.methods.contrastive.groups import Blocks, blocks_of, ranked, sums

SLOPE, EPS = 0.2, 1e-5


class ClassAttention(nn.Module):
    """S_1 ... S_C, each with a hidden layer of ``hidden`` units over vectors of D numbers."""

    def __init__(self, classes: int, channels: int, hidden: int):
        super().__init__()
        near, far = 1 / math.sqrt(channels), 1 / math.sqrt(hidden)  # as nn.Linear begins
        self.inner = nn.Parameter(torch.empty(classes, channels, hidden).uniform_(-near, near))
        self.scale = nn.Parameter(torch.ones(classes, hidden))
        self.shift = nn.Parameter(torch.zeros(classes, hidden))
        self.outer = nn.Parameter(torch.empty(classes, hidden).uniform_(-far, far))
        self.bias = nn.Parameter(torch.empty(classes).uniform_(-far, far))

    def forward(self, x: Tensor, blocks: Blocks) -> Tensor:
        """Vectors in blocks (N, T, D), 0 where there is none -> S (N, T) in 0..1, 0 where there is none; float32 or
        float64, whatever autocast says."""
        with torch.autocast(x.device.type, enabled=False):
            scores: Tensor = _Attention.apply(
                x, self.inner, self.scale, self.shift, self.outer, self.bias, blocks.filled, blocks.kind
            )
        return scores


def scores_of(attention: ClassAttention, vectors: Tensor, labels: Tensor, *, unit: bool) -> Tensor:
    """S of each vector (P, D), by the module of its class (P,), in the order of the vectors: (P,)."""
    blocks = blocks_of(ranked(labels, len(attention.bias)))
    x = (nn.functional.normalize(vectors, dim=1) if unit else vectors)[blocks.rows] * blocks.filled[..., None]
    place = torch.where(blocks.filled, blocks.rows, len(vectors)).flatten()
    scores = vectors.new_zeros(len(vectors) + 1)
    return scores.scatter_(0, place, attention(x, blocks).flatten())[:-1]


class _Attention(torch.autograd.Function):
    """Written out to save memory: only x and the hidden layer are kept, and the backward pass works in place."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        inner: Tensor,
        scale: Tensor,
        shift: Tensor,
        outer: Tensor,
        bias: Tensor,
        filled: Tensor,
        kind: Tensor,
    ) -> Tensor:
        counts = sums(filled.sum(1), kind, len(bias)).clamp(min=1)[:, None].to(x.dtype)
        hidden = torch.bmm(x, inner.index_select(0, kind))
        mean = sums(hidden.sum(1), kind, len(bias)) / counts
        hidden.sub_(mean[kind][:, None])
        square = hidden * hidden
        variance = sums((filled[:, None].to(x.dtype) @ square).squeeze(1), kind, len(bias)) / counts
        spread = (variance + EPS).rsqrt()
        active = _activated(hidden, (scale * spread)[kind], shift[kind], out=square)
        logit = torch.linalg.vecdot(active, outer[kind][:, None]) + bias[kind][:, None]
        scores = logit.sigmoid_().mul_(filled)
        ctx.save_for_backward(x, hidden, spread, counts, scale, shift, outer, kind, scores)
        return scores

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, hidden, spread, counts, scale, shift, outer, kind, scores = ctx.saved_tensors
        logit = gradient * scores * (1 - scores)  # 0 where there is no vector
        factors = ((scale * spread)[kind], shift[kind])
        slope = _activated(hidden, *factors)
        backwards = torch.ops.aten.leaky_relu_backward.grad_input
        backwards(hidden, slope, SLOPE, True, grad_input=slope)
        along = sums((logit[:, None] @ slope).squeeze(1), kind, len(counts)) * spread
        _activated(hidden, *factors, out=slope)  # computed twice rather than held twice
        backwards(logit[..., None], slope, SLOPE, True, grad_input=slope)
        straight = sums(slope.sum(1), kind, len(counts))
        to_bias = sums(logit.sum(1), kind, len(counts))
        to_outer = scale * along + shift * straight  # the sum of the activations: leaky ReLU is slope times its input
        slope.sub_((straight / counts)[kind][:, None])
        slope.addcmul_(hidden, (along * spread / counts)[kind][:, None], value=-1)
        to_inner = sums(torch.bmm(x.transpose(1, 2), slope), kind, len(counts))
        to_inner.mul_((outer * scale * spread)[:, None])
        return None, to_inner, along * outer, straight * outer, to_outer, to_bias, None, None


def _activated(hidden: Tensor, scale: Tensor, shift: Tensor, out: Tensor | None = None) -> Tensor:
    """Leaky ReLU of ``hidden`` (N, T, H) times ``scale`` plus ``shift`` (N, H)."""
    return nn.functional.leaky_relu_(torch.addcmul(shift[:, None], hidden, scale[:, None], out=out), SLOPE)
