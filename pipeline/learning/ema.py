"""The mean teacher: a network whose weights are an exponential moving average of a student's."""

import copy
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Ema(nn.Module):
    """A copy of ``student`` that follows it: theta' <- decay theta' + (1 - decay) theta (Tarvainen & Valpola 2017).

    The copy has no gradients and is in evaluation mode, whatever the learner's. Its batch norms are the exception: with
    ``own_statistics`` they are in training mode with the learner, and their running statistics are those of what the
    teacher itself sees. A student that sees strong views would teach it statistics that fit no image at prediction.
    Without, they never change, as is right where the student's are frozen.
    """

    def __init__(self, student: nn.Module, own_statistics: bool = True):
        super().__init__()
        self.net = copy.deepcopy(student).requires_grad_(False)
        self.own_statistics = own_statistics
        self.train(False)

    def train(self, mode: bool = True) -> Self:
        super().train(False)
        for module in self.net.modules():
            if isinstance(module, _BatchNorm):
                module.train(mode and self.own_statistics)
        return self

    @torch.no_grad()
    def update(self, student: nn.Module, decay: float) -> None:
        """Call once after every optimiser step; one fused operation, however many parameters there are."""
        torch._foreach_lerp_(list(self.net.parameters()), list(student.parameters()), 1 - decay)

    def forward(self, x: Tensor) -> Tensor:
        """What the averaged network says, without gradients."""
        with torch.no_grad():
            result: Tensor = self.net(x)
        return result
