"""Other colours for a batch on its device: jitter as one affine map of colour, and blur.

Weak views may have them (learning/views.py), strong views do (consistency/augment.py). Choices, where torchvision and the
papers' codes differ:
- The blur's sigma is drawn, equal in both axes.
- Jitter clips to 0..1 once, at its end. Its four operations then commute: brightness and contrast scale all channels,
  saturation and hue keep a pixel's grey. So no order is drawn, and they are one affine map of colour.
- Hue turns about the grey axis in YIQ, which keeps a pixel's grey; torchvision's turn in HSV does not. A positive turn
  leads from red to green in both, but the colours between differ.
"""

import math
from collections.abc import Callable
from typing import Annotated, Self

import torch
from pydantic import Field, Strict, model_validator
from torch import Tensor
from torch.nn import functional as F

from fewmask.core.errors import ConfigError
from fewmask.core.params import Section
from fewmask.nets.base.normalise import Normalise

SAME = torch.tensor([1.0, 1.0, 1.0, 0.0])  # brightness, contrast, saturation, hue
YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]]).double()
CHROMA = torch.eye(3).double() - YIQ[0]  # takes the grey from a colour; all three matrices are for column vectors
QUARTER = YIQ.inverse() @ torch.tensor([[0.0, 0, 0], [0, 0, 1], [0, -1, 0]]).double() @ YIQ  # turns it, no grey left


Probability = Annotated[float, Field(ge=0, le=1)]
Intensity = Annotated[float, Field(ge=0, le=1)]
Turn = Annotated[float, Field(ge=0, le=0.5)]
Sigma = Annotated[float, Field(gt=0, le=20)]
Sigmas = Annotated[tuple[Sigma, Sigma], Strict(False)]  # [low, high]; YAML has lists, not tuples


def require_rising(name: str, pair: tuple[float, float]) -> None:
    """A range has its lower number first; ValueError where it has not."""
    if pair[0] > pair[1]:
        raise ValueError(f"{name} is {list(pair)}; expected the lower number first")


class Colours(Section):
    """``jitter``, ``grey`` and ``blur`` are probabilities. A blur's sigma (pixels) is drawn evenly from its range.

    Brightness, contrast and saturation are multiplied by up to 1 -+ their intensity. Hue is turned by up to -+ ``hue``
    turns.
    """

    jitter: Probability
    brightness: Intensity
    contrast: Intensity
    saturation: Intensity
    hue: Turn
    grey: Probability = 0.0
    blur: Probability
    sigma: Sigmas = (0.1, 1.5)

    @model_validator(mode="after")
    def _sigmas_rise(self) -> Self:
        require_rising("sigma", self.sigma)
        return self


@torch.no_grad()
def recoloured(config: Colours, x: Tensor, normalise: Normalise) -> Tensor:
    """A batch x (B, 3, H, W), as ``normalise`` made it, in colours drawn from torch's global generator on the host.

    Raises:
        ConfigError: H or W is not above the blur's reach.
    """
    factors = _factors(config, len(x))
    sigmas = drawn(len(x), config.blur, config.sigma, otherwise=0.0)
    with torch.autocast(x.device.type, enabled=False):
        return blur(jitter(x, factors, normalise), sigmas, _reach(config, x))


def drawn(count: int, probability: float, values: tuple[float, float], otherwise: float) -> Tensor:
    """(count,), each with ``probability`` from the range ``values``, else ``otherwise``."""
    coins, share = torch.rand(2, count)
    return torch.where(coins < probability, values[0] + (values[1] - values[0]) * share, otherwise)


def _factors(config: Colours, count: int) -> Tensor:
    """(count, 4) for ``jitter``."""
    coins, share = torch.rand(count, 1), torch.rand(count, 4)
    reach = torch.tensor([config.brightness, config.contrast, config.saturation, config.hue])
    factors = torch.where(coins < config.jitter, SAME + reach * (2 * share - 1), SAME)
    if config.grey:
        factors[torch.rand(count) < config.grey, 2] = 0  # no saturation
    return factors


def _reach(config: Colours, x: Tensor) -> int:
    """How many pixels to each side a blur sees: three times the largest sigma, rounded up; less than H and W."""
    reach, side = math.ceil(3 * config.sigma[1]), min(x.shape[2:])
    if config.blur and reach >= side:
        raise ConfigError(
            f"sigma: found {list(config.sigma)}, a blur that reaches {reach} pixels beyond its own; expected fewer than "
            f"the {side} of a view's shorter side. Lower it, or raise views.crop or dataset.size."
        )
    return reach


def changed(whole: Tensor, chosen: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """(B, ...) with the images changed that ``chosen`` (B,) bool, on the host, names; itself where it names none.

    ``change`` is given a copy of those, (n, ...), and may write to it.
    """
    if not chosen.any():
        return whole
    index = chosen.nonzero().flatten().to(whole.device, non_blocking=True)
    return whole.index_copy(0, index, change(whole.index_select(0, index)))


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

    return changed(x, chosen, recolour)


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

    return changed(x, chosen, smooth)
