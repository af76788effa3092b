"""Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation (Chen et al., ECCV 2018).

DeepLabv3+: atrous spatial pyramid pooling on the deepest features, joined with stride-4 ones in a decoder.

Choices:
- The paper keeps all stages and dilates the deep ones. ``deep_stages: drop`` and narrow channels make the network light
  enough for a CPU.
- A separable convolution has one batch norm, after its pointwise half (the authors' code has two).
- The pyramid's image-level branch has none: over 1x1 maps it cannot train on a single image.
- Rates are used as written; the paper doubles them at stride 8.
- The last layer is dilated evenly, without v3's multi-grid. Its first 3x3 keeps half the rate, as its filters were
  trained.
- Logits are enlarged without aligned corners (the authors' code aligns them).
"""

from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from fewmask.core.errors import ConfigError
from fewmask.nets.base.encoders import EncoderConfig, encoder_backbone
from fewmask.nets.base.segnet import Backbone, Head, SegNet, conv_bn_relu, resize
from fewmask.nets.base.weights import normalisation

__all__ = ["Config", "build", "normalisation"]

DROPOUT = 0.1  # after the pyramid, as in the authors' code (keep_prob 0.9)


class Config(EncoderConfig):
    """Encoder, pyramid, decoder."""

    name: Literal["deeplabv3plus"] = "deeplabv3plus"
    aspp_rates: Annotated[tuple[PositiveInt, ...], Field(strict=False)] = (6, 12, 18)  # YAML has lists
    aspp_channels: PositiveInt = 256
    low_channels: PositiveInt = 48
    decoder_channels: PositiveInt = 256
    separable: bool = True


def build(config: Config, classes: int) -> SegNet:
    """x (B, 3, H, W) -> logits (B, classes, H, W)."""
    made = encoder_backbone(config)
    return SegNet(made.blocks, head(config, made, classes))


def head(config: Config, backbone: Backbone, classes: int) -> Head:
    return Decoder(config, backbone, classes)


def atrous(inputs: int, outputs: int, dilation: int, separable: bool) -> nn.Sequential:
    """x (B, inputs, H, W) -> (B, outputs, H, W): 3x3 convolution, whole or depthwise then pointwise."""
    if not separable:
        return conv_bn_relu(inputs, outputs, 3, dilation=dilation)
    depthwise = nn.Conv2d(inputs, inputs, 3, padding=dilation, dilation=dilation, groups=inputs, bias=False)
    return nn.Sequential(depthwise, conv_bn_relu(inputs, outputs, 1))


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: one pixel, several rates, the whole image."""

    def __init__(self, inputs: int, outputs: int, rates: tuple[int, ...], separable: bool):
        super().__init__()
        wide = [atrous(inputs, outputs, rate, separable) for rate in rates]
        self.local = nn.ModuleList([conv_bn_relu(inputs, outputs, 1), *wide])
        self.image = nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.ReLU(inplace=True))
        self.join = nn.Sequential(conv_bn_relu(outputs * (len(rates) + 2), outputs, 1), nn.Dropout(DROPOUT))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, inputs, h, w) -> (B, outputs, h, w)."""
        image = self.image(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        return self.join(torch.cat([*(branch(x) for branch in self.local), image], 1))


class Decoder(Head):
    """Pyramid on the last features; decoder on the last of stride 4."""

    def __init__(self, config: Config, backbone: Backbone, classes: int):
        super().__init__()
        self.low = _last_of_stride_4(config, backbone)
        self.pyramid = Pyramid(backbone.channels[-1], config.aspp_channels, config.aspp_rates, config.separable)
        self.project = conv_bn_relu(backbone.channels[self.low], config.low_channels, 1)
        joined, width = config.low_channels + config.aspp_channels, config.decoder_channels
        self.decode = nn.Sequential(
            atrous(joined, width, 1, config.separable), atrous(width, width, 1, config.separable)
        )
        self.channels = width
        self.classify = nn.Conv2d(width, classes, 1)

    def embed(self, features: list[Tensor]) -> Tensor:
        """Features of every block -> (B, decoder_channels, H/4, W/4)."""
        low = self.project(features[self.low])
        deep = resize(self.pyramid(features[-1]), low.shape[2:])
        embedding: Tensor = self.decode(torch.cat([deep, low], 1))
        return embedding

    def score(self, embedding: Tensor) -> Tensor:
        """(B, decoder_channels, H/4, W/4) -> logits (B, classes, H/4, W/4)."""
        scores: Tensor = self.classify(embedding)
        return scores


def _last_of_stride_4(config: Config, backbone: Backbone) -> int:
    if 4 not in backbone.strides:
        raise ConfigError(
            f"encoder: {config.encoder}: found strides {backbone.strides}, expected a 4; choose another encoder."
        )
    return max(index for index, stride in enumerate(backbone.strides) if stride == 4)
