"""The tagger: which classes an image shows.

With a segmentation network, it sees the areas of the classes on the network's map. With an encoder of torchvision or
timm, it sees the average of the last features over all positions, as in the paper (methods/mlmt/mlmt.py).
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewmask.core.params import Section, Size
from fewmask.nets.base.encoders import EncoderConfig, encoder_backbone
from fewmask.nets.base.published import network_module
from fewmask.nets.base.segnet import Backbone, SegNet, run_blocks

Scale = tuple[tuple[float, ...], tuple[float, ...]]  # mean and standard deviation of each channel
FLOOR, EVEN = 1e-6, 0.01  # least area that is told from none; area at which a class is at first as likely there as not


class Config(Section):
    """``network`` is the section of a segmentation network or, without a ``name``, of an encoder.

    ``size`` (height, width): images are stretched to it; null leaves them as they are.
    """

    name: Literal["tagger"] = "tagger"
    network: dict[str, Any]
    size: Size | None = None


class Areas(nn.Module):
    """x (B, 3, H, W) -> the logarithm of the share of an image that each class has, (B, C)."""

    def __init__(self, net: SegNet):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        probabilities = self.net.head(self.net.features(x)).float().softmax(1)
        return probabilities.mean((2, 3)).clamp_min(FLOOR).log()


class Average(nn.Module):
    """x (B, 3, H, W) -> the last features of a backbone, averaged over all positions, (B, D)."""

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.blocks = backbone.blocks

    def forward(self, x: Tensor) -> Tensor:
        return run_blocks(self.blocks, x)[-1].mean((2, 3))


class Tagger(nn.Module):
    """Images (B, 3, H, W) of any size -> logits (B, C), by a linear layer on the output of ``seen``.

    x has the scale of the segmentation network's input. ``gain`` and ``shift`` bring it to an encoder's own scale.
    """

    gain: Tensor
    shift: Tensor

    def __init__(self, seen: nn.Module, channels: int, classes: int, size: tuple[int, int] | None):
        super().__init__()
        self.seen, self.size, self.classify = seen, size, nn.Linear(channels, classes)
        self.register_buffer("gain", torch.ones(3, 1, 1))
        self.register_buffer("shift", torch.zeros(3, 1, 1))

    def rescale(self, given: Scale, wanted: Scale) -> None:
        """Say that x comes with the mean and deviation ``given``, and that the encoder is made for ``wanted``."""
        (mean, std), (own_mean, own_std) = ([torch.tensor(part) for part in scale] for scale in (given, wanted))
        self.gain.copy_((std / own_std)[:, None, None])
        self.shift.copy_(((mean - own_mean) / own_std)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.gain + self.shift
        if self.size is not None and x.shape[2:] != self.size:
            x = F.interpolate(x, self.size, mode="bilinear", antialias=True)
        logits: Tensor = self.classify(self.seen(x))
        return logits


def on_network(net: SegNet, classes: int, size: tuple[int, int] | None) -> Tagger:
    """A tagger that looks with ``net``; at first a class is there or not as its area is above ``EVEN``."""
    tagger = Tagger(Areas(net), classes, classes, size)
    nn.init.eye_(tagger.classify.weight)
    nn.init.constant_(tagger.classify.bias, -math.log(EVEN))
    return tagger


def on_encoder(config: EncoderConfig, classes: int, size: tuple[int, int] | None) -> Tagger:
    """A tagger that looks with an encoder of its own."""
    backbone = encoder_backbone(config)
    return Tagger(Average(backbone), backbone.channels[-1], classes, size)


def build(config: Config, classes: int) -> Tagger:
    if "name" not in config.network:
        return on_encoder(EncoderConfig.model_validate(config.network), classes, config.size)
    module = network_module(config.network["name"])
    return on_network(module.build(module.Config.model_validate(config.network), classes), classes, config.size)
