"""The weak and the strong augmentation of Table 1, for a batch on its device: images, labels and confidences alike.

"Semi-Supervised Semantic Segmentation with Pixel-Level Contrastive Learning from a Class-wise Memory Bank" (Alonso et
al., ICCV 2021). The order is that of the authors' code: ClassMix, scale with a random crop or a centred padding,
horizontal flip, colour jitter, blur. An image without any draw comes out bit for bit as it came.

Choices, where the authors' code differs from their text or we differ from it:
- The numbers are the Table's. The code's jitter is a sixth weaker, and its strong ClassMix is 0.75 after 2000 steps.
- Every draw is made for each image. The code draws flip, scale and blur, and whether to jitter, once a batch.
- Padding is the mean colour (0, as in weak views; jitter changes it), confidence 0, label 255. The code has black.
- The blur's range (0.1, 1.5) became the constant sigmas of its two axes in the code.
- Colours are those of learning/colours.py.
"""

from typing import Annotated, Literal, Self

import torch
from pydantic import Field, Strict, model_validator
from torch import Tensor
from torch.nn import functional as F

from fewmask.consistency.classmix import Views, classmix
from fewmask.consistency.cutmix import cutmix
from fewmask.core.masks import IGNORE
from fewmask.learning.colours import (
    Colours,
    Intensity,
    Probability,
    Sigmas,
    Turn,
    changed,
    drawn,
    recoloured,
    require_rising,
)
from fewmask.nets.base.normalise import Normalise

Scale = Annotated[float, Field(ge=0.1, le=10)]
Scales = Annotated[tuple[Scale, Scale], Strict(False)]  # [low, high]; YAML has lists, not tuples


class Augment(Colours):
    """A set of views, such as a column of Table 1; the defaults hold for both columns.

    ``flip``, ``resize`` and ``mix`` are probabilities. A scale is drawn evenly from its range. ``mixing`` says how
    images are mixed. ``background`` says whether ClassMix may move class 0 where the image shows other classes.
    """

    flip: Probability = 0.5
    resize: Probability
    scales: Scales = (0.75, 1.75)
    mix: Probability
    mixing: Literal["classmix", "cutmix"] = "classmix"
    background: bool = True

    @model_validator(mode="after")
    def _scales_rise(self) -> Self:
        require_rising("scales", self.scales)
        return self


class WeakAugment(Augment):
    """The weak set-up of Table 1."""

    resize: Probability = 0.5
    jitter: Probability = 0.2
    brightness: Intensity = 0.15
    contrast: Intensity = 0.15
    saturation: Intensity = 0.075
    hue: Turn = 0.05
    blur: Probability = 0.0
    mix: Probability = 0.2


class StrongAugment(Augment):
    """The strong set-up of Table 1."""

    resize: Probability = 0.8
    jitter: Probability = 0.8
    brightness: Intensity = 0.3
    contrast: Intensity = 0.3
    saturation: Intensity = 0.15
    hue: Turn = 0.1
    blur: Probability = 0.2
    mix: Probability = 0.8


class StrongViews(Augment):
    """UniMatch's: colours, grey, blur and a mixture; geometry is the weak view's."""

    flip: Probability = 0.0
    resize: Probability = 0.0
    jitter: Probability = 0.8
    brightness: Intensity = 0.5
    contrast: Intensity = 0.5
    saturation: Intensity = 0.5
    hue: Turn = 0.25
    grey: Probability = 0.2
    blur: Probability = 0.5
    sigma: Sigmas = (0.1, 2.0)
    mix: Probability = 0.5


@torch.no_grad()
def augment(config: Augment, x: Tensor, labels: Tensor, confidence: Tensor, normalise: Normalise) -> Views:
    """A batch x (B, 3, H, W), as ``normalise`` made it, labels (B, H, W) int64, confidence (B, H, W), 0..1 -> the same.

    All is drawn from torch's global generator on the host, so that every device sees the same views, and nothing waits
    for the device. Inputs are not written to, but may be what is returned. x keeps its layout in memory, and its
    precision under autocast.

    Raises:
        ConfigError: H or W is not above the blur's reach.
    """
    count = len(x)
    layout = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    views = _mixed(config, x.contiguous(), labels, confidence)  # planes are up to 8 x faster
    views = zoom(views, drawn(count, config.resize, config.scales, otherwise=1.0), torch.rand(count, 2))
    views = mirror(views, torch.rand(count) < config.flip)
    return views._replace(x=recoloured(config, views.x, normalise).contiguous(memory_format=layout))


def _mixed(config: Augment, x: Tensor, labels: Tensor, confidence: Tensor) -> Views:
    if config.mixing == "cutmix":
        return cutmix(x, labels, confidence, config.mix)
    return classmix(x, labels, confidence, config.mix, config.background)


def zoom(views: Views, scales: Tensor, places: Tensor) -> Views:
    """Enlarge or reduce each image in its frame by ``scales`` (B,), on the host; 1 leaves it alone.

    ``places`` (B, 2), 0..1, on the host, is where the window of an enlarged image lies, (rows, columns): 0 at the top
    left. A reduced image lies in the middle. Labels are those of the nearest pixels, the rest is bilinear.
    """
    device, (height, width) = views.labels.device, views.labels.shape[1:]
    chosen = scales != 1
    rows, columns = (_sources(side, scales[chosen], places[chosen, axis]) for axis, side in enumerate((height, width)))
    y, u = (_centred(source).to(device, non_blocking=True) for source in (rows, columns))
    row, column = (_nearest(source).to(device, non_blocking=True) for source in (rows, columns))
    outside = (row < 0)[:, :, None] | (column < 0)[:, None]
    grid = torch.stack(torch.broadcast_tensors(u[:, None], y[:, :, None]), 3)
    pixel = (row[:, :, None] * width + column[:, None]).masked_fill_(outside, 0).flatten(1)

    def smooth(planes: Tensor) -> Tensor:
        seen = F.grid_sample(planes, grid, padding_mode="border", align_corners=False)
        return seen.masked_fill_(outside[:, None], 0)

    return Views(
        changed(views.x, chosen, smooth),
        changed(views.labels, chosen, lambda maps: _taken(maps, pixel).masked_fill_(outside, IGNORE)),
        changed(views.confidence, chosen, lambda maps: smooth(maps[:, None])[:, 0].clamp_(0, 1)),
    )


def _sources(side: int, scales: Tensor, places: Tensor) -> Tensor:
    """Where on an axis of ``side`` pixels those of the result come from, (n, side) float64; pixel 0 is from 0 to 1.

    Found on the host, so that every device takes a label from the same pixel.
    """
    scales, places = scales.double()[:, None], places.double()[:, None]
    cut = side - side / scales  # negative: what is added
    return torch.where(scales < 1, 0.5, places) * cut + (torch.arange(side) + 0.5) / scales


def _centred(sources: Tensor) -> Tensor:
    """As ``grid_sample`` counts: -1 at one end of the image, 1 at the other."""
    return (2 * sources / sources.shape[1] - 1).float()


def _nearest(sources: Tensor) -> Tensor:
    """int64, -1 outside."""
    return torch.where((sources >= 0) & (sources < sources.shape[1]), sources.floor(), -1).long()


def _taken(maps: Tensor, pixel: Tensor) -> Tensor:
    """(n, H, W) at the pixels (n, H * W) int64."""
    return maps.flatten(1).gather(1, pixel).view_as(maps)


def mirror(views: Views, flipped: Tensor) -> Views:
    """Left to right and right to left where ``flipped`` (B,) bool, on the host, says so."""
    return Views(*(changed(whole, flipped, lambda part: part.flip(-1)) for whole in views))
