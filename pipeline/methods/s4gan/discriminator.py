"""The discriminator of "Semi-Supervised Semantic Segmentation with High- and Low-level Consistency" (section 4.1.2).

It judges a whole image and its segmentation map, not pixels.

Choices: whole channels are dropped, after the first three convolutions alone (released code; the text says after each
of the four). The average is over all positions, so any crop works. The code has windows for crops of 321x321 and
256x512, and gives the same average there.
"""

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from fewmask.core.params import Section

CHANNELS = (64, 128, 256, 512)


class DiscriminatorConfig(Section):
    """``width`` multiplies every channel number; ``dropout`` is the share of channels that are dropped."""

    width: PositiveFloat = 1.0
    dropout: float = Field(default=0.5, ge=0, lt=1)


class Discriminator(nn.Module):
    """A map and its image (B, C + 3, H, W), H and W at least 16 -> logits (B,) and the features behind them."""

    def __init__(self, classes: int, config: DiscriminatorConfig):
        super().__init__()
        channels = [max(1, round(channel * config.width)) for channel in CHANNELS]
        blocks: list[nn.Module] = []
        for inputs, outputs in zip([classes + 3, *channels], channels, strict=False):
            blocks += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
            blocks += [nn.Dropout2d(config.dropout)]
        self.body = nn.Sequential(*blocks[:-1])
        self.score = nn.Linear(channels[-1], 1)

    def forward(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Pairs (B, C + 3, H, W) -> logits (B,), features phi (B, D)."""
        features = self.body(pairs).mean((2, 3))
        return self.score(features)[:, 0], features


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """(B, H, W) int64 -> (B, C, H, W) float32; a pixel that is to be ignored is 0 in every channel."""
    return (labels[:, None] == torch.arange(classes, device=labels.device)[:, None, None]).float()
