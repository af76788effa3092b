"""The photometric half of the augmentation (augment.py): colour jitter as one affine map, and blur."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from fewmask.nets.base.normalise import Normalise

SAME = torch.tensor([1.0, 1.0, 1.0, 0.0])  # brightness, contrast, saturation, hue
YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]]).double()
CHROMA = torch.eye(3).double() - YIQ[0]  # takes the grey from a colour; all three matrices are for column vectors
QUARTER = YIQ.inverse() @ torch.tensor([[0.0, 0, 0], [0, 0, 1], [0, -1, 0]]).double() @ YIQ  # turns it, no grey left


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
