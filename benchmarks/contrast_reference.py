"""The contrastive loss in the manner of the released code, to be measured against: class after class, pair by pair."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewmask.methods.contrastive.attention import SLOPE, ClassAttention


class PairwiseLoss(nn.Module):
    """Eqs. (8) to (11) over the |P_c| x |Z_c| cosines of each class; a module for each class and each side.

    The memory is one numpy array a class on the host and becomes a tensor anew for each class and call. The weights of
    the memory are those of eq. (8), not the ones that the released code arrives at, so that both compute the same.
    """

    def __init__(self, memory: list[np.ndarray], attention: ClassAttention, memory_attention: ClassAttention):
        super().__init__()
        self.memory = memory
        self.attention = _modules(attention)
        self.memory_attention = _modules(memory_attention)

    def forward(self, vectors: Tensor, labels: Tensor) -> Tensor:
        """vectors (P, D) and labels (P,) -> the mean over all classes."""
        loss = vectors.new_zeros(())
        for c, stored in enumerate(self.memory):
            own = vectors[labels == c]
            if len(own) < 2 or len(stored) < 2:
                continue
            bank = F.normalize(torch.from_numpy(stored).to(vectors.device), dim=1)
            unit = F.normalize(own, dim=1)
            distances = 1 - unit @ bank.t()  # (9)
            s = torch.sigmoid(self.attention[c](unit.detach()))
            distances = distances * (len(s) / s.sum() * s).repeat(1, len(bank))  # (8)
            u = torch.sigmoid(self.memory_attention[c](bank)).t()
            distances = distances * (u.numel() / u.sum() * u).repeat(len(own), 1)
            loss = loss + distances.mean()
        return loss / len(self.memory)


def _modules(attention: ClassAttention) -> nn.ModuleList:
    """One network a class with the parameters of ``attention``."""
    classes, channels, hidden = attention.inner.shape
    modules = nn.ModuleList()
    for c in range(classes):
        inner, norm, outer = nn.Linear(channels, hidden), nn.BatchNorm1d(hidden), nn.Linear(hidden, 1)
        with torch.no_grad():
            inner.weight.copy_(attention.inner[c].t())
            norm.weight.copy_(attention.scale[c])
            norm.bias.copy_(attention.shift[c])
            outer.weight.copy_(attention.outer[c][None])
            outer.bias.copy_(attention.bias[c])
        modules.append(nn.Sequential(inner, norm, nn.LeakyReLU(SLOPE, inplace=True), outer))
    return modules.to(attention.inner)


def gathered(modules: nn.ModuleList) -> list[Tensor]:
    """The gradients in the shapes of ClassAttention's parameters: inner, scale, shift, outer, bias."""
    layers = [list(module) for module in modules]
    return [
        torch.stack([each[0].weight.grad.t() for each in layers]),
        torch.stack([each[1].weight.grad for each in layers]),
        torch.stack([each[1].bias.grad for each in layers]),
        torch.stack([each[3].weight.grad[0] for each in layers]),
        torch.stack([each[3].bias.grad[0] for each in layers]),
    ]
