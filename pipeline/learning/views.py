"""Weak views: one random scale, crop or padding, flip and small shift per image, the mask moved with its image.

batches.py changes the colours, of a whole batch at once, where params want that.

Only the window that remains is resized, never the whole enlarged image. Padding is the mean colour (0 after
normalisation) and 255 in the mask.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from fewmask.core.masks import IGNORE
from fewmask.core.params import Section, Size
from fewmask.learning.colours import Colours, Intensity, Probability, Turn
from fewmask.nets.base.normalise import Normalise


class WeakColours(Colours):
    """Half of the views in somewhat other colours, a fifth blurred: what photographs differ in anyway."""

    jitter: Probability = 0.5
    brightness: Intensity = 0.3
    contrast: Intensity = 0.3
    saturation: Intensity = 0.3
    hue: Turn = 0.05
    blur: Probability = 0.2


class WeakViews(Section):
    """Scales are drawn from the list (papers often have a discrete set); ``shift`` is in pixels, both axes.

    ``crop`` (height, width) is the size of a view, of the enlarged or reduced image; null: the image's own size.
    ``colours: {}`` changes colours, too; the papers' weak views keep them.
    """

    crop: Size | None = None
    scales: list[Annotated[float, Field(ge=0.1, le=10)]] = Field(default=[1.0], min_length=1)
    flip: float = Field(default=0.5, ge=0, le=1)
    shift: int = Field(default=2, ge=0, le=32)
    colours: WeakColours | None = None


@dataclass(frozen=True)
class View:
    """What one image goes through: the window (top, left, height, width) of the source that is resized to ``zoomed``
    and pasted at ``corner`` (row, column) of the canvas (height, width), mirrored or not."""

    canvas: tuple[int, int]
    window: tuple[int, int, int, int]
    zoomed: tuple[int, int]
    corner: tuple[int, int]
    mirrored: bool


def draw_view(
    config: WeakViews, size: tuple[int, int], rng: np.random.Generator, extent: tuple[int, int] | None = None
) -> View:
    """Draw one view of an image of ``size`` (H, W), of which ``extent`` (h, w) at the top left is not padding.

    The window lies inside the extent, so a view shows no padding but its own.
    """
    scale = float(rng.choice(config.scales))
    room = rng.random(2)
    shift = rng.integers(-config.shift, config.shift + 1, 2)
    mirrored = bool(rng.random() < config.flip)
    canvas = config.crop or size
    rows, columns = (_along(*axis, scale) for axis in zip(extent or size, canvas, room, shift.tolist(), strict=True))
    window = (rows[0], columns[0], rows[1], columns[1])
    return View(canvas, window, (rows[2], columns[2]), (rows[3], columns[3]), mirrored)


def _along(side: int, canvas: int, room: float, shift: int, scale: float) -> tuple[int, int, int, int]:
    """One axis: the window's first pixel and length, its length when resized, and where on the canvas it begins."""
    zoomed = max(1, round(side * scale))
    if zoomed >= canvas:
        window = min(side, round(canvas / scale))
        return int(room * (side - window + 1)), window, canvas, shift
    return 0, side, zoomed, int(room * (canvas - zoomed + 1) + shift)


def apply_views(images: Tensor, masks: Tensor, views: list[View], normalise: Normalise) -> tuple[Tensor, Tensor]:
    """Images (B, H, W, 3) uint8 and masks (B, K, H, W) uint8 -> x (B, 3, h, w) normalised and y (B, K, h, w) int64."""
    canvas = views[0].canvas if views else images.shape[1:3]
    x = normalise.colour.expand(len(images), *canvas, 3).clone()
    y = torch.full((*masks.shape[:2], *canvas), IGNORE, dtype=torch.uint8, device=masks.device)
    for index, view in enumerate(views):
        top, left, height, width = view.window
        rows, columns = slice(top, top + height), slice(left, left + width)
        image, mask = images[index, rows, columns].permute(2, 0, 1), masks[index, :, rows, columns]
        if view.zoomed != (height, width):
            image, mask = _zoomed(image, view.zoomed), _nearest(mask, view.zoomed)
        if view.mirrored:
            image, mask = image.flip(2), mask.flip(2)
        _paste(x[index].permute(2, 0, 1), image, view.corner)
        _paste(y[index], mask, view.corner)
    return normalise(x), y.long()


def _zoomed(image: Tensor, size: tuple[int, int]) -> Tensor:
    """(3, h, w) uint8 -> (3, *size) uint8, bilinear; on a CPU bytes are seven times faster, CUDA has floats only."""
    if image.is_cuda:
        return F.interpolate(image[None].float(), size, mode="bilinear", align_corners=False)[0].round().byte()
    return F.interpolate(image[None], size, mode="bilinear", align_corners=False)[0]


def _nearest(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """(K, h, w) uint8 -> (K, *size), nearest."""
    return F.interpolate(mask[None], size, mode="nearest-exact")[0]


def _paste(canvas: Tensor, content: Tensor, corner: tuple[int, int]) -> None:
    """Copy ``content`` (..., h, w) into ``canvas`` (..., H, W) at ``corner``; what falls outside is lost."""
    target, source = [], []
    for place, size, room in zip(corner, content.shape[-2:], canvas.shape[-2:], strict=True):
        first = max(0, place)
        last = max(first, min(room, place + size))
        target.append(slice(first, last))
        source.append(slice(first - place, last - place))
    canvas[..., target[0], target[1]] = content[..., source[0], source[1]]
