"""A segmentation network that also recognises its puzzle: SELENE's "output taken in the other direction".

Choices: the paper names direction, average and linear layer. The way down mirrors its decoder: 1x1 convolutions of
stride 2. A network that ends in one map is averaged there.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from fewmask.nets.base.segnet import SegNet, inference_mode_of, maps_of
from fewmask.nets.routing.cells import convolved


class TopDown(nn.Module):
    """Maps (B, C_i, h_i, w_i), each half the size of the one before -> logits (B, classes) of the whole image."""

    def __init__(self, channels: list[int], classes: int):
        super().__init__()
        self.steps = nn.ModuleList(
            nn.Sequential(*convolved(finer, coarser, stride=2), nn.ReLU(inplace=True))
            for finer, coarser in pairwise(channels)
        )
        self.classify = nn.Linear(channels[-1], classes)

    def forward(self, maps: list[Tensor]) -> Tensor:
        y, *coarser = maps
        for step, beside in zip(self.steps, coarser, strict=True):
            y = step(y) + beside
        logits: Tensor = self.classify(y.mean((2, 3)))
        return logits


class Solver(nn.Module):
    """``net`` with a second head for the pretext task; prediction needs ``net`` alone."""

    def __init__(self, net: SegNet, classes: int):
        super().__init__()
        self.net = net
        self.top_down = TopDown(channels_of(net), classes)


def channels_of(net: SegNet) -> list[int]:
    """Those of the maps of its last block, read off an empty image; batch norm learns nothing."""
    with torch.no_grad(), inference_mode_of(net):
        maps = maps_of(net.features(torch.zeros(1, 3, 64, 64))[-1])
    return [y.shape[1] for y in maps]
