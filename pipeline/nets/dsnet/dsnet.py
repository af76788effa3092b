"""The road-scene network of "Semi-supervised Semantic Segmentation using Auxiliary Network" (section 3.2.1).

Choices: the paper's figures are missing from its text, so most channel numbers are ours. At width 1 and 19 classes the
network has 2,105,555 parameters, the paper's 2.11 M (test_dsnet.py). Table and reasons: docs/methods/auxiliary.md.
"""

from typing import Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from fewmask.core.params import Section
from fewmask.nets.base.segnet import Backbone, Head, SegNet, conv_bn_relu, measured, resize
from fewmask.nets.base.weights import IMAGENET, Scale, fill, read_state

DECODER = (24, 32, 16, 24)  # channels after blocks 1..4 (paper)


class Config(Section):
    """``width`` multiplies every channel number; ``blocks`` counts the units of blocks 1..4."""

    name: Literal["dsnet"] = "dsnet"
    width: PositiveFloat = 1.0
    blocks: list[PositiveInt] = Field(default=[2, 4, 8, 8], min_length=4, max_length=4)
    weights: str | None = None  # a local state dict of the backbone; the paper's ImageNet weights do not exist


class Branches(nn.Module):
    """Two branches, concatenated: one 1x1 convolution beside two stacked 3x3 (initial block, non-bottleneck unit)."""

    def __init__(self, inputs: int, left: int, middle: int, right: int):
        super().__init__()
        self.left = conv_bn_relu(inputs, left, 1)
        self.right = nn.Sequential(conv_bn_relu(inputs, middle, 3), conv_bn_relu(middle, right, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.left(x), self.right(x)], 1)


class Bottleneck(nn.Module):
    """x (B, C, h, w) -> (B, C + growth, h, w): 1x1 to four times the growth, 3x3, concatenated with the input."""

    def __init__(self, inputs: int, growth: int):
        super().__init__()
        self.body = nn.Sequential(conv_bn_relu(inputs, 4 * growth, 1), conv_bn_relu(4 * growth, growth, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.body(x)], 1)


class Decoder(Head):
    """Features of blocks 1..4, each through a 3x3 convolution, at block 1's size, concatenated; x4 deconvolution."""

    def __init__(self, inputs: list[int], outputs: list[int], classes: int):
        super().__init__()
        self.taps = nn.ModuleList(conv_bn_relu(i, o, 3) for i, o in zip(inputs, outputs, strict=True))
        self.channels = sum(outputs)
        self.out = nn.ConvTranspose2d(self.channels, classes, 8, stride=4, padding=2)

    def embed(self, features: list[Tensor]) -> Tensor:
        """Features of every block -> (B, channels, H/4, W/4)."""
        maps = features[1:]  # the initial block is not tapped
        taps = [resize(tap(x), maps[0].shape[2:]) for tap, x in zip(self.taps, maps, strict=True)]
        return torch.cat(taps, 1)

    def score(self, embedding: Tensor) -> Tensor:
        """(B, channels, H/4, W/4) -> logits (B, classes, H, W)."""
        scores: Tensor = self.out(embedding)
        return scores


def build(config: Config, classes: int) -> SegNet:
    """Blocks at 1/4, 1/4, 1/8, 1/16, 1/32 of the input; logits at the input's size."""
    made = backbone(config)
    return SegNet(made.blocks, head(config, made, classes))


def backbone(config: Config) -> Backbone:
    """The initial block and blocks 1..4."""
    growth = wide(32, config)
    stem = nn.Sequential(
        conv_bn_relu(3, wide(32, config), 3, stride=2),
        Branches(wide(32, config), wide(16, config), wide(32, config), wide(48, config)),
        nn.AvgPool2d(2),
    )
    channels = wide(16, config) + wide(48, config)
    first = []
    for _ in range(config.blocks[0]):
        first.append(Branches(channels, wide(32, config), wide(96, config), wide(96, config)))
        channels = wide(32, config) + wide(96, config)
    blocks = [stem, nn.Sequential(*first)]
    for units in config.blocks[1:]:
        layers: list[nn.Module] = [conv_bn_relu(channels, channels // 2, 1), nn.AvgPool2d(2)]  # transition
        channels //= 2
        for _ in range(units):
            layers.append(Bottleneck(channels, growth))
            channels += growth
        blocks.append(nn.Sequential(*layers))
    made = measured(blocks)
    if config.weights is not None:
        fill(made.blocks, read_state(config.weights, "the path of a .pt or .safetensors file"), config.weights)
    return made


def head(config: Config, backbone: Backbone, classes: int) -> Head:
    """The decoder over blocks of any channels."""
    return Decoder(backbone.channels[1:], [wide(c, config) for c in DECODER], classes)


def wide(channels: int, config: Config) -> int:
    """``width`` times as many channels, a multiple of four."""
    return max(4, round(channels * config.width / 4) * 4)


def normalisation(config: Config) -> Scale:
    """Mean and standard deviation of the input, RGB in 0..1."""
    return IMAGENET
