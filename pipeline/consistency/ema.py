"""The mean teacher: a network whose weights are an exponential moving average of a student's."""

import copy
from typing import Any, Generic, Literal, Self, TypeVar

import torch
from torch import Tensor, nn

from fewmask.learning.batchnorm import BATCH_NORMS, Mode, set_batch_norm

Network = TypeVar("Network", bound=nn.Module)


class Ema(nn.Module, Generic[Network]):
    """A copy of ``student`` that follows it: theta' <- decay theta' + (1 - decay) theta (Tarvainen & Valpola 2017).

    The copy has no gradients and stays in evaluation mode, whatever the learner's mode. Its batch norms are the
    exception: they are in training mode with the learner, except those that ``batch_norm`` freezes. Their running
    statistics come from the teacher's own input. The statistics of a student that sees strong views would fit no image
    at prediction.
    """

    def __init__(self, student: Network, batch_norm: Mode = "trained"):
        super().__init__()
        self.net: Network = copy.deepcopy(student).requires_grad_(False)
        self.batch_norm: Mode = batch_norm
        self.train(False)

    def train(self, mode: bool = True) -> Self:
        super().train(False)
        for module in self.net.modules():
            if isinstance(module, BATCH_NORMS):
                module.train(mode)
        set_batch_norm(self.net, self.batch_norm)
        return self

    def follow(self, student: Network, decay: float, done: int) -> None:
        """``update`` after ``done`` other steps, by the mean of all so far until ``decay`` is more."""
        self.update(student, min(decay, 1 - 1 / (done + 1)))

    @torch.no_grad()
    def update(self, student: Network, decay: float) -> None:
        """Call once after every optimiser step; one fused operation, however many parameters there are."""
        torch._foreach_lerp_(list(self.net.parameters()), list(student.parameters()), 1 - decay)

    def published(self, which: Literal["student", "teacher"], student: Network) -> Network:
        """The network that a method publishes: this average, or the student."""
        return self.net if which == "teacher" else student

    def forward(self, x: Tensor) -> Any:
        """What the averaged network says, without gradients."""
        with torch.no_grad():
            return self.net(x)
