"""The weak and the strong augmentation of Table 1, done to a batch where it is: images, labels and confidences alike.

"Semi-Supervised Semantic Segmentation with Pixel-Level Contrastive Learning from a Class-wise Memory Bank" (Alonso et
al., ICCV 2021). In the order of the authors' code: ClassMix, scale with a random crop or a centred padding, horizontal
flip, colour jitter, blur. An image for which nothing is drawn comes out as it came, to the bit.

Choices, where the authors' code differs from their text or we from it:
- The numbers are the Table's; the code's jitter is a sixth weaker, and its strong ClassMix 0.75 after 2000 steps.
- Every draw is made for each image; the code draws flip, scale and blur, and whether to jitter, once a batch.
- Padding is the mean colour (0, as in weak views; jitter changes it), confidence 0, label 255; the code has black.
- The blur's sigma is drawn, equal in both axes; the code's range (0.1, 1.5) became the constant sigmas of the two axes.
- Jitter cuts to 0..1 once, at its end. Its four operations then commute (brightness and contrast scale all channels,
  saturation and hue keep a pixel's grey), so that there is no order to draw, and they are one affine map of colour.
- Hue turns about the grey axis in YIQ, which keeps a pixel's grey; torchvision's turn in HSV does not. Like that one, a
  positive turn leads from red to green, but colours between differ.
"""

import math
from collections.abc import Callable
from typing import Annotated, Self

import torch
from pydantic import Field, Strict, model_validator
from torch import Tensor
from torch.nn import functional as F

from fewmask.consistency.classmix import Views, classmix
from fewmask.core.masks import IGNORE
from fewmask.core.params import Section
from fewmask.nets.base.normalise import Normalise

Probability = Annotated[float, Field(ge=0, le=1)]
Intensity = Annotated[float, Field(ge=0, le=1)]
Scale = Annotated[float, Field(ge=0.1, le=10)]
Sigma = Annotated[float, Field(gt=0, le=20)]
Scales = Annotated[tuple[Scale, Scale], Strict(False)]  # [low, high]; YAML has lists, not tuples
Turn = Annotated[float, Field(ge=0, le=0.5)]
Sigmas = Annotated[tuple[Sigma, Sigma], Strict(False)]


class Augment(Section):
    """A set of views, such as a column of Table 1; defaults are what both columns share.

    ``flip``, ``resize``, ``jitter``, ``blur`` and ``mix`` (ClassMix) are probabilities; a scale and a blur's sigma
    (pixels) are drawn evenly from their range.

    Brightness, contrast and saturation are multiplied by up to 1 -+ their intensity, hue is turned by up to -+ ``hue``
    turns. ``background``: whether ClassMix may move class 0 where there are others.
    """

    flip: Probability = 0.5
    resize: Probability
    scales: Scales = (0.75, 1.75)
    jitter: Probability
    brightness: Intensity
    contrast: Intensity
    saturation: Intensity
    hue: Turn
    blur: Probability
    sigma: Sigmas = (0.1, 1.5)
    mix: Probability
    background: bool = True

    @model_validator(mode="after")
    def _ranges_rise(self) -> Self:
        for name, (low, high) in (("scales", self.scales), ("sigma", self.sigma)):
            if low > high:
                raise ValueError(f"{name} is {[low, high]}; expected the lower number first")
        return self


class Weak(Augment):
    """The weak set-up of Table 1."""

    resize: Probability = 0.5
    jitter: Probability = 0.2
    brightness: Intensity = 0.15
    contrast: Intensity = 0.15
    saturation: Intensity = 0.075
    hue: Turn = 0.05
    blur: Probability = 0.0
    mix: Probability = 0.2


class Strong(Augment):
    """The strong set-up of Table 1."""

    resize: Probability = 0.8
    jitter: Probability = 0.8
    brightness: Intensity = 0.3
    contrast: Intensity = 0.3
    saturation: Intensity = 0.15
    hue: Turn = 0.1
    blur: Probability = 0.2
    mix: Probability = 0.8


WEAK, STRONG = Weak(), Strong()


@torch.no_grad()
def augment(config: Augment, x: Tensor, labels: Tensor, confidence: Tensor, normalise: Normalise) -> Views:
    """A batch x (B, 3, H, W), as ``normalise`` made it, labels (B, H, W) int64, confidence (B, H, W), 0..1 -> the same.

    All is drawn from torch's global generator on the host, so that every device sees the same views, and nothing waits
    for the device. Inputs are not written to, but may be what is returned. x keeps its layout in memory, and its
    precision under autocast.

    Raises:
        RuntimeError: H or W is not above the blur's reach, which is three times the largest sigma, rounded up.
    """
    count = len(x)
    layout = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    views = classmix(x.contiguous(), labels, confidence, config.mix, config.background)  # planes are up to 8 x faster
    views = zoom(views, _draw(count, config.resize, config.scales, otherwise=1.0), torch.rand(count, 2))
    views = mirror(views, torch.rand(count) < config.flip)
    factors = _draw_factors(config, count)
    sigmas = _draw(count, config.blur, config.sigma, otherwise=0.0)
    with torch.autocast(x.device.type, enabled=False):
        changed = jitter(views.x, factors, normalise)
        changed = blur(changed, sigmas, math.ceil(3 * config.sigma[1]))
    return views._replace(x=changed.contiguous(memory_format=layout))


def _draw(count: int, probability: float, values: tuple[float, float], otherwise: float) -> Tensor:
    """(count,), each with ``probability`` from the range ``values``, else ``otherwise``."""
    coins, share = torch.rand(2, count)
    return torch.where(coins < probability, values[0] + (values[1] - values[0]) * share, otherwise)


def _draw_factors(config: Augment, count: int) -> Tensor:
    """(count, 4) for ``jitter``."""
    coins, share = torch.rand(count, 1), torch.rand(count, 4)
    reach = torch.tensor([config.brightness, config.contrast, config.saturation, config.hue])
    return torch.where(coins < config.jitter, SAME + reach * (2 * share - 1), SAME)


def _changed(whole: Tensor, chosen: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """(B, ...) with the images changed that ``chosen`` (B,) bool, on the host, names; itself where it names none.

    ``change`` is given a copy of those, (n, ...), and may write to it.
    """
    if not chosen.any():
        return whole
    index = chosen.nonzero().flatten().to(whole.device, non_blocking=True)
    return whole.index_copy(0, index, change(whole.index_select(0, index)))


# ---- geometry


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
        _changed(views.x, chosen, smooth),
        _changed(views.labels, chosen, lambda maps: _taken(maps, pixel).masked_fill_(outside, IGNORE)),
        _changed(views.confidence, chosen, lambda maps: smooth(maps[:, None])[:, 0].clamp_(0, 1)),
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
    return Views(*(_changed(whole, flipped, lambda part: part.flip(-1)) for whole in views))


# ---- colour

SAME = torch.tensor([1.0, 1.0, 1.0, 0.0])  # brightness, contrast, saturation, hue
YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]]).double()
CHROMA = torch.eye(3).double() - YIQ[0]  # takes the grey from a colour; all three matrices are for column vectors
QUARTER = YIQ.inverse() @ torch.tensor([[0.0, 0, 0], [0, 0, 1], [0, -1, 0]]).double() @ YIQ  # turns it, no grey left


def jitter(x: Tensor, factors: Tensor, normalise: Normalise) -> Tensor:
    """Colours of x (B, 3, H, W) changed by ``factors`` (B, 4), on the host: brightness, contrast, saturation, hue.

    The first three multiply; the last is in turns. Contrast is about the mean grey of the brightened image.
    """
    chosen = (factors != SAME).any(1)
    span, black = 255 * normalise.scale, normalise.bias  # a colour c of 0..1 is c * span + black
    matrix, pull = (part.to(x.device, non_blocking=True) for part in _colour_maps(factors[chosen]))
    grey = YIQ[0].float().to(x.device, non_blocking=True)

    def recolour(planes: Tensor) -> Tensor:
        pixels = planes.flatten(2)
        mean = ((pixels.mean(2) - black) / span * grey).sum(1, keepdim=True)
        linear = span[:, None] * matrix / span
        shift = black + span * (pull * mean) - (linear * black).sum(2)
        changed = torch.baddbmm(shift[:, :, None], linear, pixels)
        return changed.clamp_(black[:, None], (black + span)[:, None]).view_as(planes)

    return _changed(x, chosen, recolour)


def _colour_maps(factors: Tensor) -> tuple[Tensor, Tensor]:
    """What becomes of a colour of 0..1: the matrix (n, 3, 3) it is multiplied by, the share (n, 1) of the image's mean
    grey that is added."""
    brightness, contrast, saturation, hue = factors.double().T[..., None, None]
    turn = 2 * math.pi * hue
    matrix = YIQ[0] + saturation * (turn.cos() * CHROMA + turn.sin() * QUARTER)
    return (brightness * contrast * matrix).float(), (brightness * (1 - contrast))[:, 0].float()


def blur(x: Tensor, sigmas: Tensor, reach: int) -> Tensor:
    """Gaussian blur of x (B, 3, H, W) by ``sigmas`` (B,) pixels, on the host; 0 leaves an image alone.

    ``reach`` pixels to each side are seen, less than H and W: with three sigmas less than 0.3 % of the weight is cut
    (0.02 % for 1.5 and 5) and spread over the rest. The image is mirrored at its border.
    """
    chosen = sigmas > 0
    distance = torch.arange(-reach, reach + 1) / sigmas[chosen, None]
    weights = (-(distance**2) / 2).softmax(1).repeat_interleave(3, 0).to(x.device, non_blocking=True)

    def smooth(planes: Tensor) -> Tensor:
        padded = F.pad(planes, (reach,) * 4, mode="reflect").flatten(0, 1)[None]
        along = F.conv2d(padded, weights[:, None, None], groups=len(weights))
        return F.conv2d(along, weights[:, None, :, None], groups=len(weights)).view_as(planes)

    return _changed(x, chosen, smooth)
