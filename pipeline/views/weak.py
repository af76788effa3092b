"""Weak views: one random scale, crop or padding, flip and small shift per image, the mask moved with its image.

Only the window that remains is resized, never the whole enlarged image. Padding is the mean colour (0 after
normalisation) and 255 in the mask.
"""

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveFloat
from torch import Tensor
from torch.nn import functional as F

from pipeline.core.params import Section

IGNORE = 255


class WeakViews(Section):
    """Scales are drawn from the list (papers/002 has a discrete set); ``shift`` is in pixels, both axes."""

    scales: list[PositiveFloat] = Field(default=[1.0], min_length=1)
    flip: float = Field(default=0.5, ge=0, le=1)
    shift: NonNegativeInt = 2


@dataclass(frozen=True)
class View:
    """What one image goes through: the window (top, left, height, width) of the source that is resized to ``zoomed``
    and pasted at ``corner`` (row, column) of the canvas, mirrored or not."""

    window: tuple[int, int, int, int]
    zoomed: tuple[int, int]
    corner: tuple[int, int]
    mirrored: bool


def draw_view(config: WeakViews, size: tuple[int, int], rng: np.random.Generator) -> View:
    """Draw one view of an image of ``size`` (H, W)."""
    scale = float(rng.choice(config.scales))
    room = rng.random(2)
    shift = rng.integers(-config.shift, config.shift + 1, 2)
    mirrored = bool(rng.random() < config.flip)
    if scale >= 1:
        window = [round(side / scale) for side in size]
        corner = [int(r * (side - w + 1)) for r, side, w in zip(room, size, window, strict=True)]
        return View((*corner, *window), size, (int(shift[0]), int(shift[1])), mirrored)  # type: ignore[arg-type]
    zoomed = [round(side * scale) for side in size]
    corner = [int(r * (side - z + 1) + d) for r, side, z, d in zip(room, size, zoomed, shift, strict=True)]
    return View((0, 0, *size), tuple(zoomed), tuple(corner), mirrored)  # type: ignore[arg-type]


class Normalise:
    """uint8 RGB to the network's input: ``x * scale + bias`` per channel."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device | str = "cpu"):
        self.scale = (1 / (255 * torch.tensor(std))).view(3, 1, 1).to(device)
        self.bias = (-torch.tensor(mean) / torch.tensor(std)).view(3, 1, 1).to(device)

    def __call__(self, images: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 -> (B, 3, H, W) float32, channels last in memory."""
        return torch.addcmul(self.bias, images.permute(0, 3, 1, 2).float(), self.scale)


def apply_views(images: Tensor, masks: Tensor, views: list[View], normalise: Normalise) -> tuple[Tensor, Tensor]:
    """Images (B, H, W, 3) uint8 and masks (B, H, W) uint8 -> x (B, 3, H, W) normalised and y (B, H, W) int64."""
    height, width = masks.shape[1:]
    x = torch.zeros(len(images), 3, height, width, device=images.device).to(memory_format=torch.channels_last)
    y = torch.full(masks.shape, IGNORE, dtype=torch.uint8, device=masks.device)
    for index, view in enumerate(views):
        top, left, h, w = view.window
        rows, columns = slice(top, top + h), slice(left, left + w)
        image = normalise(images[index : index + 1, rows, columns])
        mask = masks[index : index + 1, None, rows, columns]
        if view.zoomed != (h, w):
            image = F.interpolate(image, view.zoomed, mode="bilinear", align_corners=False)
            mask = F.interpolate(mask, view.zoomed, mode="nearest-exact")
        if view.mirrored:
            image, mask = image.flip(3), mask.flip(3)
        _paste(x[index], image[0], view.corner)
        _paste(y[index], mask[0, 0], view.corner)
    return x, y.long()


def _paste(canvas: Tensor, content: Tensor, corner: tuple[int, int]) -> None:
    """Copy ``content`` (..., h, w) into ``canvas`` (..., H, W) at ``corner``; what falls outside is lost."""
    target, source = [], []
    for place, size, room in zip(corner, content.shape[-2:], canvas.shape[-2:], strict=True):
        first, last = max(0, place), min(room, place + size)
        target.append(slice(first, last))
        source.append(slice(first - place, last - place))
    canvas[..., target[0], target[1]] = content[..., source[0], source[1]]
