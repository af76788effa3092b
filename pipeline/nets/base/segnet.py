"""The form of every segmentation network: a backbone and a head; a second branch can leave between two blocks.

Its module has ``head(config, backbone, classes)`` and ``build(config, classes)``. A block gives one map, or ``Levels``
where it works at several strides at once (routing.py).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import log2
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Levels(NamedTuple):
    """The output of a block that works at several strides: their maps (B, C_i, h_i, w_i), finest first.

    ``gates`` (B, cells, 3): how far each cell opened its paths. ``size`` (h, w): how much of the finest map is not
    padding.
    """

    maps: list[Tensor]
    gates: Tensor
    size: tuple[int, int]


Features = list[Any]  # of every block, in order: a Tensor, or Levels


class Backbone(NamedTuple):
    """A chain of blocks: each takes the output of the one before. Channels and stride of each output."""

    blocks: nn.ModuleList
    channels: list[int]
    strides: list[int]


def measured(blocks: Iterable[nn.Module]) -> Backbone:
    """Channels and strides, read off an empty image; in inference mode, so that batch norm learns nothing."""
    listed = nn.ModuleList(blocks).eval()
    with torch.no_grad():
        outputs = [maps_of(y)[-1] for y in run_blocks(listed, torch.zeros(1, 3, 64, 64))]
    listed.train()
    strides = [2 ** round(log2(64 / (y.shape[2] - 0.5))) for y in outputs]  # a ceiling may add one to a side
    return Backbone(listed, [y.shape[1] for y in outputs], strides)


@contextmanager
def inference_mode_of(net: nn.Module) -> Iterator[None]:
    """Inside the block the network is in inference mode; then every module is in the mode it was."""
    training = [module for module in net.modules() if module.training]
    net.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def maps_of(output: Tensor | Levels) -> list[Tensor]:
    """The maps of a block's output, finest first."""
    return output.maps if isinstance(output, Levels) else [output]


def run_blocks(blocks: Iterable[nn.Module], x: Tensor) -> Features:
    """x -> the output of every block, in order."""
    outputs = []
    for block in blocks:
        x = block(x)
        outputs.append(x)
    return outputs


class Head(nn.Module):
    """From the outputs of all blocks to logits, in two steps; ``channels`` is D of the map after the first."""

    channels: int

    def embed(self, features: Features) -> Tensor:
        """Features of every block -> the map (B, D, h, w) of which the classifier is a function."""
        raise NotImplementedError

    def score(self, embedding: Tensor) -> Tensor:
        """The classification layer: (B, D, h, w) -> logits (B, classes, h', w')."""
        raise NotImplementedError

    def forward(self, features: Features) -> Tensor:
        return self.score(self.embed(features))


class SegNet(nn.Module):
    """A backbone and a head: x -> blocks -> features -> head -> logits at the input's size.

    ``align_corners`` says how the logits are enlarged.
    """

    def __init__(self, blocks: nn.ModuleList, head: Head, align_corners: bool = False):
        super().__init__()
        self.blocks, self.head, self.align_corners = blocks, head, align_corners

    def features(self, x: Tensor) -> Features:
        """x (B, 3, H, W) -> the output of every block, in order."""
        return run_blocks(self.blocks, x)

    def enlarged(self, logits: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
        """Logits (B, C, h, w) of a head -> (B, C, *size)."""
        return resize(logits, size, self.align_corners)

    def embedded(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, 3, H, W) -> the map (B, D, h, w) that its classification layer sees, and logits (B, C, H, W)."""
        embedding = self.head.embed(self.features(x))
        return embedding, self.enlarged(self.head.score(embedding), x.shape[2:])

    def forward(self, x: Tensor) -> Tensor:
        """x (B, 3, H, W) normalised -> logits (B, C, H, W)."""
        return self.enlarged(self.head(self.features(x)), x.shape[2:])


def resize(x: Tensor, size: torch.Size | tuple[int, int], align_corners: bool = False) -> Tensor:
    """x (B, C, h, w) -> (B, C, *size), bilinear; x itself where the size is right."""
    if x.shape[2:] == tuple(size):
        return x
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=align_corners)


def conv_bn_relu(inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Convolution ("same" padding, no bias), batch norm, ReLU."""
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
