"""The auxiliary network (its paper's Table 1): class probabilities in, one confidence per pixel out.

Choices: Table 1 prints an input of 3 channels; the text and eq. (1) say class-probability maps, so C channels. The five
dilated convolutions go straight into the deconvolution (160 channels), without a 1x1 projection.
"""

from typing import Literal

import torch
from pydantic import PositiveFloat
from torch import Tensor, nn

from fewmask.core.params import Section
from fewmask.nets.base.segnet import conv_bn_relu, resize

RATES = (1, 2, 4, 8, 16)


class Config(Section):
    """``width`` multiplies every channel number."""

    name: Literal["judge"] = "judge"
    width: PositiveFloat = 1.0


class AuxiliaryNet(nn.Module):
    """Probabilities (B, C, H, W) -> confidence logits (B, 1, H, W); the sigmoid is the caller's."""

    def __init__(self, classes: int, width: float):
        super().__init__()
        c32, c64, c128, c256 = (max(4, round(c * width)) for c in (32, 64, 128, 256))
        self.body = nn.Sequential(
            conv_bn_relu(classes, c32, 3, stride=2),
            conv_bn_relu(c32, c64, 3),
            conv_bn_relu(c64, c128, 3, stride=2),
            conv_bn_relu(c128, c256, 3),
            conv_bn_relu(c256, c256, 3),
        )
        self.aspp = nn.ModuleList(conv_bn_relu(c256, c32, 3, dilation=rate) for rate in RATES)
        self.out = nn.ConvTranspose2d(c32 * len(RATES), 1, 8, stride=4, padding=2)

    def forward(self, probabilities: Tensor) -> Tensor:
        x = self.body(probabilities)
        x = self.out(torch.cat([branch(x) for branch in self.aspp], 1))
        return resize(x, probabilities.shape[2:])


def build(config: Config, classes: int) -> AuxiliaryNet:
    return AuxiliaryNet(classes, config.width)
