"""Strong views: RandAugment and cutout of a batch of normalised images; label maps move with their images.

"Three-stage self-training for semi-supervised semantic segmentation": A changes the images, B their label maps.
An image is stretched to 0..255 by its own minimum and maximum, changed there, and mapped back by the same two.

Choices, beside the authors' code (byte images through PIL, one by one, labels through two index maps):

- The geometric operations of an image are composed into one affine map and sampled once, nearest, after the
  photometric ones, which therefore never see the mid-grey outside; what leaves the image and returns is not lost.
- Nothing is rounded to bytes between operations (theirs lose up to two grey levels even under Identity); Equalize
  alone looks bytes up in a table. Thresholds lie half-way between bytes, so that rounding cannot move one across.
- A constant image has no contrast to stretch; it stays as it is.

Image by image, because few images of a batch share an operation, and one image stays in a processor's cache.
Plain torch and not torchvision's functions: those take 1.5 to 10 times as long here, and 2 s to import.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from pipeline.core.params import Section

LEVELS = 9
WHITE = 255.0

Operation = tuple[str, int]  # name and level, 1 to 9, negative to mirror a geometric one
Hole = tuple[int, int, int, int]  # top, bottom, left, right


class StrongViews(Section):
    """``operations`` drawn for an image, each applied with ``probability``; ``holes`` squares of ``hole`` pixels."""

    operations: NonNegativeInt = 3
    probability: float = Field(default=0.5, ge=0, le=1)
    holes: NonNegativeInt = 3
    hole: PositiveInt = 32


def draw_strong(config: StrongViews, count: int, size: tuple[int, int]) -> "Strong":
    """Draw strong views of ``count`` images of ``size`` (H, W) from torch's global generator, for any device."""
    shape = (count, config.operations)
    kinds, signs = torch.randint(len(NAMES), shape), torch.randint(2, shape) * 2 - 1
    levels, applied = signs * torch.randint(1, LEVELS + 1, shape), torch.rand(shape) < config.probability
    centres = (torch.rand(count, config.holes, 2) * torch.tensor(size)).int()
    rows = zip(kinds.tolist(), levels.tolist(), applied.tolist(), strict=True)
    operations = [[(NAMES[k], m) for k, m, used in zip(*row, strict=True) if used and k > 0] for row in rows]
    holes = [[_hole(centre, config.hole, size) for centre in image] for image in centres.tolist()]
    return Strong(size, operations, holes)


def _hole(centre: list[int], side: int, size: tuple[int, int]) -> Hole:
    (top, left), (height, width) = (place - side // 2 for place in centre), size
    return max(0, top), min(height, top + side), max(0, left), min(width, left + side)


@dataclass(frozen=True)
class Strong:
    """A and B: the operations that each image of a batch goes through, in this order, and its holes."""

    size: tuple[int, int]
    operations: list[list[Operation]]
    holes: list[list[Hole]]
    _sources: dict[torch.device, dict[int, Tensor]] = field(default_factory=dict, repr=False, compare=False)

    def images(self, x: Tensor) -> Tensor:
        """A: x (B, 3, H, W) -> (B, 3, H, W), a copy with x's memory layout, or x itself where nothing was drawn."""
        assert x.shape == (len(self.operations), 3, *self.size)
        if not any(self.operations) and not any(self.holes):
            return x
        out, sources = x.clone(), self._sources_on(x.device)
        for index, (operations, holes) in enumerate(zip(self.operations, self.holes, strict=True)):
            dark, bright = x[index].amin(), x[index].amax()
            grey = (dark + bright) / 2
            if any(name in PHOTOMETRIC for name, _ in operations):
                out[index] = _photometric(x[index], operations, dark, bright)
            if index in sources:
                out[index] = _moved(out[index], sources[index], grey)
            for top, bottom, left, right in holes:
                out[index, :, top:bottom, left:right] = grey
        return out

    def labels(self, maps: Tensor, fill: int = 255) -> Tensor:
        """B: integer maps (B, H, W) or (B, K, H, W) -> the same, ``fill`` where the source is outside the image.

        A hole is in the image alone: what is under it stays a target. Where nothing moves, ``maps`` itself.
        """
        assert (len(maps), *maps.shape[-2:]) == (len(self.operations), *self.size)
        sources = self._sources_on(maps.device)
        if not sources:
            return maps
        out, outside = maps.clone(), torch.full((), fill, dtype=maps.dtype, device=maps.device)
        for index, source in sources.items():
            out[index] = _moved(maps[index], source, outside)
        return out

    def _sources_on(self, device: torch.device) -> dict[int, Tensor]:
        """By number of each image that moves: see ``sources``. Computed once, for the images and all their maps."""
        if device not in self._sources:
            moving = [i for i, chosen in enumerate(self.operations) if any(name in GEOMETRIC for name, _ in chosen)]
            affines = np.array([affine(self.operations[i], self.size) for i in moving]).reshape(-1, 3, 3)
            self._sources[device] = dict(zip(moving, sources(affines, self.size, device), strict=True))
        return self._sources[device]


# ---- geometry: affine maps (3, 3) from a place (column, row, 1) of the result to its source, as in PIL


def affine(operations: list[Operation], size: tuple[int, int]) -> np.ndarray:
    """The one map of all the geometric ``operations``; the last of them is undone first."""
    maps = [GEOMETRIC[name](level, size) for name, level in operations if name in GEOMETRIC]
    return reduce(np.matmul, maps, np.eye(3))


def sources(affines: np.ndarray, size: tuple[int, int], device: torch.device) -> Tensor:
    """Maps (N, 3, 3) -> (N, H * W) int32: which pixel of the image in its frame (see ``_moved``) each one shows.

    Added as whole numbers of 1 / 65536 pixel, from float64: every device finds the same pixel.
    """
    height, width = size
    along = affines[:, :2, :1] * (np.arange(width) + 0.5) + affines[:, :2, 2:]
    down = affines[:, :2, 1:2] * (np.arange(height) + 0.5)
    fixed = [torch.from_numpy((part * 65536).round().astype(np.int32)).to(device) for part in (along, down)]
    column, row = (((fixed[0][:, axis, None] + fixed[1][:, axis, :, None]) >> 16) + 1 for axis in (0, 1))
    return (row.clamp_(0, height + 1) * (width + 2)).add_(column.clamp_(0, width + 1)).flatten(1)


def _moved(values: Tensor, source: Tensor, outside: Tensor) -> Tensor:
    """Values (..., H, W) in a frame of one pixel of ``outside``, taken at ``source`` (H * W,) -> (..., H, W)."""
    height, width = values.shape[-2:]
    framed = outside.expand(*values.shape[:-2], height + 2, width + 2).contiguous()
    framed[..., 1:-1, 1:-1] = values
    return framed.flatten(-2).index_select(-1, source).view(values.shape)


def _rotate(level: int, size: tuple[int, int]) -> np.ndarray:
    """About the centre; a positive level turns counter-clockwise."""
    angle = math.radians(int(3 * level))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    centre = np.array([size[1], size[0]]) / 2
    return np.vstack([np.column_stack([turn, centre - turn @ centre]), [0, 0, 1]])


GEOMETRIC: dict[str, Callable[[int, tuple[int, int]], np.ndarray]] = {
    "Rotate": _rotate,
    "ShearX": lambda level, size: np.array([[1, 0.03 * level, 0], [0, 1, 0], [0, 0, 1]]),
    "ShearY": lambda level, size: np.array([[1, 0, 0], [0.03 * level, 1, 0], [0, 0, 1]]),
    "TranslateX": lambda level, size: np.array([[1, 0, level], [0, 1, 0], [0, 0, 1]]),
    "TranslateY": lambda level, size: np.array([[1, 0, 0], [0, 1, level], [0, 0, 1]]),
}

# ---- photometry: each changes an image (3, H, W) of 0..255, which it may overwrite, by a level of 1 to 9


def _photometric(image: Tensor, operations: list[Operation], dark: Tensor, bright: Tensor) -> Tensor:
    """The image (3, H, W), stretched, after its photometric ``operations``, mapped back."""
    step = (bright - dark).clamp(min=1e-30) / WHITE
    image = image.clone(memory_format=torch.contiguous_format).sub_(dark).mul_(1 / step)
    for name, level in operations:
        if name in PHOTOMETRIC:
            image = PHOTOMETRIC[name](image, abs(level))
    return image.mul_(step).add_(dark)


def _blend(image: Tensor, other: Tensor, level: int) -> Tensor:
    """PIL's ImageEnhance: towards ``other`` below a factor of 1, away from it above."""
    return image.lerp_(other, 1 - (0.18 * level + 0.1)).clamp_(0, WHITE)


def _luma(channels: Tensor) -> Tensor:
    """Red, green and blue (3, ...) -> grey (...)."""
    red, green, blue = channels
    return (0.299 * red).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def _color(image: Tensor, level: int) -> Tensor:
    return _blend(image, _luma(image), level)


def _contrast(image: Tensor, level: int) -> Tensor:
    return _blend(image, _luma(image.mean((1, 2))), level)


def _brightness(image: Tensor, level: int) -> Tensor:
    return _blend(image, image.new_zeros(()), level)


def _sharpness(image: Tensor, level: int) -> Tensor:
    """Against the mean of 3x3 pixels in which the middle one counts five times; the border stays."""
    inner = image[:, 1:-1, 1:-1]
    rows = (image[:, :-2] + image[:, 1:-1]).add_(image[:, 2:])
    smooth = (rows[..., :-2] + rows[..., 1:-1]).add_(rows[..., 2:]).add_(inner, alpha=4).div_(13)
    _blend(inner, smooth, level)
    return image


def _auto_contrast(image: Tensor, level: int) -> Tensor:
    low, high = image.amin((1, 2), keepdim=True), image.amax((1, 2), keepdim=True)
    flat = low == high
    return image.sub_(low.masked_fill(flat, 0)).mul_((WHITE / (high - low)).masked_fill(flat, 1))


def _equalize(image: Tensor, level: int) -> Tensor:
    """PIL's table per channel: a byte becomes the number of pixels below it, in steps of a 255th of those not at the
    top."""
    codes = image.round().int() + 256 * torch.arange(3, dtype=torch.int32, device=image.device).view(3, 1, 1)
    counts = codes.flatten().bincount(minlength=768).view(3, 256)
    highest = image.amax((1, 2)).round().long()
    step = (counts.sum(1, True) - counts.gather(1, highest[:, None])) // 255
    table = ((step // 2 + counts.cumsum(1) - counts) // step.clamp(min=1)).clamp(max=255)
    table = torch.where(step > 0, table, torch.arange(256, device=image.device))
    return table.to(image.dtype).flatten().index_select(0, codes.flatten()).view_as(image)


def _solarize(image: Tensor, level: int) -> Tensor:
    """v above the threshold becomes 255 - v; as v - 2 w + 255, w = v there and 127.5 elsewhere."""
    threshold = 256 - int(25.6 * level) - 0.5
    high = torch.nn.functional.threshold(image, threshold, WHITE / 2)
    return image.add_(high, alpha=-2).add_(WHITE)


def _posterize(image: Tensor, level: int) -> Tensor:
    step = 2 ** (4 + int(0.4 * level))
    return image.add_(0.5).mul_(1 / step).floor_().mul_(step)


PHOTOMETRIC: dict[str, Callable[[Tensor, int], Tensor]] = {
    "AutoContrast": _auto_contrast,
    "Equalize": _equalize,
    "Solarize": _solarize,
    "Color": _color,
    "Contrast": _contrast,
    "Brightness": _brightness,
    "Sharpness": _sharpness,
    "Posterize": _posterize,
}
NAMES = ["Identity", *PHOTOMETRIC, *GEOMETRIC]
