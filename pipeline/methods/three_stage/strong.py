"""Strong views: RandAugment and cutout of a batch of normalised images; label maps move with their images.

"A Three-Stage Self-Training Framework for Semi-Supervised Semantic Segmentation": A changes images, B label maps. An
image is stretched to 0..255 by its own minimum and maximum, changed there, and mapped back by the same two.

Images are changed one by one: few images of a batch share an operation, and one alone stays in a processor's cache.
torchvision's functions are not used. On channels-last images they take as long or up to 16 times as long, and their
import takes 1 s.

Choices, where the authors' code (byte images through PIL, labels through maps of row and column numbers) differs:
- The geometric operations of an image are composed into one affine map and sampled once, nearest. They follow the
  photometric ones, which thus never see the mid-grey outside. One operation can bring back what another moved out.
- Nothing is rounded to bytes between operations; their rounding loses up to two grey levels even under Identity.
  Equalize alone looks bytes up in a table. Thresholds lie half-way between bytes, so rounding errors move no value
  across.
- A constant image, which cannot be stretched, stays as it is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from fewmask.core.masks import IGNORE
from fewmask.core.params import Section

WHITE, FIXED = 255.0, 16  # the brightest value; bits behind the point of a place

Operation = tuple[str, int]  # name and level, 1 to 9, negative to mirror a geometric one
Hole = tuple[int, int, int, int]  # top, bottom, left, right
Source = Tensor | tuple[int, int]


class StrongViews(Section):
    """``operations`` drawn for an image, each applied with ``probability``; ``holes`` squares of ``hole`` pixels."""

    operations: NonNegativeInt = 3
    probability: float = Field(default=0.5, ge=0, le=1)
    holes: NonNegativeInt = 3
    hole: PositiveInt = 32


def draw_strong(config: StrongViews, count: int, size: tuple[int, int]) -> "DrawnViews":
    """Draw strong views of ``count`` images of ``size`` (H, W) from torch's global generator, for any device."""
    shape = (count, config.operations)
    kinds, signs = torch.randint(len(NAMES), shape), torch.randint(2, shape) * 2 - 1
    levels, applied = signs * torch.randint(1, 10, shape), torch.rand(shape) < config.probability
    centres = (torch.rand(count, config.holes, 2) * torch.tensor(size)).int()
    rows = torch.stack([kinds * applied, levels], 2).tolist()
    operations = [[(NAMES[kind], level) for kind, level in row if kind > 0] for row in rows]
    holes = [[_hole(centre, config.hole, size) for centre in image] for image in centres.tolist()]
    return DrawnViews(size, operations, holes)


def _hole(centre: list[int], side: int, size: tuple[int, int]) -> Hole:
    (top, left), (height, width) = (place - side // 2 for place in centre), size
    return max(0, top), min(height, top + side), max(0, left), min(width, left + side)


@dataclass(frozen=True)
class DrawnViews:
    """A and B: the operations that each image of a batch goes through, in this order, and its holes."""

    size: tuple[int, int]
    operations: list[list[Operation]]
    holes: list[list[Hole]]
    _sources: dict[torch.device, dict[int, Source]] = field(default_factory=dict, repr=False, compare=False)

    def images(self, x: Tensor) -> Tensor:
        """A: x (B, 3, H, W) -> (B, 3, H, W), a copy with x's memory layout, or x itself where nothing was drawn."""
        assert x.shape == (len(self.operations), 3, *self.size)
        if not any(self.operations) and not any(self.holes):
            return x
        out = torch.empty_like(x, memory_format=torch.channels_last)
        for index, pixels in enumerate(out.permute(0, 2, 3, 1)):
            self._image(index, x[index].permute(1, 2, 0), pixels)
        return out.contiguous() if x.is_contiguous() else out

    def _image(self, index: int, image: Tensor, out: Tensor) -> None:
        """Image number ``index`` (H, W, 3) into ``out``."""
        dark, bright = image.amin(), image.amax()
        grey, source = (dark + bright) / 2, self._moving(out.device).get(index)
        if PHOTOMETRIC.keys() & dict(self.operations[index]):
            image = _recolour(image, self.operations[index], dark, bright, out)
        if source is not None:
            image = _move(image, source, grey, out)
        if image is not out:
            out.copy_(image)
        for top, bottom, left, right in self.holes[index]:
            out[top:bottom, left:right] = grey

    def labels(self, maps: Tensor, fill: int = IGNORE) -> Tensor:
        """B: integer maps (B, H, W) or (B, K, H, W) -> the same, ``fill`` where the source is outside the image.

        A hole hides the image alone: what is under it stays a target. Where nothing moves, ``maps`` itself.
        """
        assert (len(maps), *maps.shape[-2:]) == (len(self.operations), *self.size)
        if not (moving := self._moving(maps.device)):
            return maps
        if maps.dim() == 4:
            return torch.stack([self.labels(each, fill) for each in maps.unbind(1)], 1)
        out = maps.clone(memory_format=torch.contiguous_format)
        outside = torch.full((), fill, dtype=maps.dtype, device=maps.device)
        for index, source in moving.items():
            _move(maps[index], source, outside, out[index])
        return out

    def _moving(self, device: torch.device) -> dict[int, Source]:
        """The source of each image that moves, by its number; found once for the images and all their maps."""
        if device not in self._sources:
            affines = {i: affine(o, self.size) for i, o in enumerate(self.operations) if GEOMETRIC.keys() & dict(o)}
            self._sources[device] = {i: source_of(inverse, self.size, device) for i, inverse in affines.items()}
        return self._sources[device]


# ---- geometry: affine maps (3, 3) from a place (column, row, 1) of the result to its source, as in PIL


def affine(operations: list[Operation], size: tuple[int, int]) -> np.ndarray:
    """The one map of all the geometric ``operations``; the last of them is undone first."""
    return reduce(np.matmul, (GEOMETRIC[name](level, size) for name, level in operations if name in GEOMETRIC))


def source_of(inverse: np.ndarray, size: tuple[int, int], device: torch.device) -> Source:
    """A map (3, 3) as a shift (columns, rows) or as (H * W,) int32: where in the framed image each pixel is.

    Made of whole numbers that the host rounds: every device finds the same pixel, in images of less than 2**13.
    """
    if (inverse[:2, :2] == np.eye(2)).all():
        return int(inverse[0, 2]), int(inverse[1, 2])
    height, width = size
    columns, rows = (np.arange(side) + 0.5 for side in (width, height))
    places = np.hstack([inverse[:2, :1] * columns + inverse[:2, 2:] + 1, inverse[:2, 1:2] * rows]) * 2**FIXED
    whole = torch.from_numpy(places.round().clip(-(2**30), 2**30 - 1).astype(np.int32))
    x, y = whole.to(device, non_blocking=True)
    column = (x[:width] + x[width:, None]).bitwise_right_shift_(FIXED).clamp_(0, width + 1)
    row = (y[:width] + y[width:, None]).bitwise_right_shift_(FIXED).clamp_(0, height + 1)
    return row.mul_(width + 2).add_(column).flatten()


def _move(values: Tensor, source: Source, outside: Tensor, out: Tensor) -> Tensor:
    """Values (H, W, ...), in a frame of ``outside``, taken at ``source`` into ``out``."""
    height, width, *rest = values.shape
    reach = 1 if isinstance(source, Tensor) else max(1, *map(abs, source))
    framed = outside.expand(height + 2 * reach, width + 2 * reach, *rest).contiguous()
    framed[reach:-reach, reach:-reach] = values
    if isinstance(source, Tensor):
        torch.index_select(framed.flatten(0, 1), 0, source, out=out.view(-1, *rest))
    else:
        left, top = (reach + shift for shift in source)
        out.copy_(framed[top : top + height, left : left + width])
    return out


def _rotate(level: int, size: tuple[int, int]) -> np.ndarray:
    """About the centre; a positive level turns counter-clockwise."""
    angle = math.radians(3 * level)
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

# ---- photometry: each overwrites an image (H, W, 3) of 0..255, by a level of 1 to 9


def _recolour(image: Tensor, operations: list[Operation], dark: Tensor, bright: Tensor, out: Tensor) -> Tensor:
    """The image (H, W, 3) stretched, after its photometric ``operations``, mapped back, in ``out``."""
    step = (bright - dark).clamp(min=1e-30) / WHITE
    torch.sub(image, dark, out=out).mul_(1 / step)
    for name, level in operations:
        if name in PHOTOMETRIC:
            PHOTOMETRIC[name](out, abs(level))
    return out.mul_(step).add_(dark)


def _blend(pixels: Tensor, other: Tensor, level: int) -> None:
    """PIL's ImageEnhance: towards ``other`` below a factor of 1, away from it above."""
    pixels.lerp_(other, 1 - (0.18 * level + 0.1)).clamp_(0, WHITE)


def _grey(pixels: Tensor) -> Tensor:
    """(..., 3) -> (..., 3), three times the same."""
    red, green, blue = pixels.split(1, -1)
    return (0.299 * red).add_(green, alpha=0.587).add_(blue, alpha=0.114).expand_as(pixels).contiguous()


def _along(pixels: Tensor, channels: Tensor) -> Tensor:
    """A value per channel (3,) -> (W, 3): three values alone broadcast slowly."""
    return channels.repeat(pixels.shape[1]).view(-1, 3)


def _sharpness(pixels: Tensor, level: int) -> None:
    """Against the mean of 3x3 pixels in which the middle one counts five times; the border stays."""
    inner = pixels[1:-1, 1:-1]
    rows = (pixels[:-2] + pixels[1:-1]).add_(pixels[2:])
    smooth = (rows[:, :-2] + rows[:, 1:-1]).add_(rows[:, 2:]).add_(inner, alpha=4).div_(13)
    _blend(inner, smooth, level)


def _auto_contrast(pixels: Tensor, level: int) -> None:
    rows = pixels.flatten(1)
    low, high = rows.amin(0).view(-1, 3).amin(0), rows.amax(0).view(-1, 3).amax(0)
    shift, gain = (value.masked_fill(low == high, same) for value, same in ((low, 0), (WHITE / (high - low), 1)))
    pixels.sub_(_along(pixels, shift)).mul_(_along(pixels, gain))


def _equalize(pixels: Tensor, level: int) -> None:
    """PIL's table: a byte becomes the number of pixels below it, in 255ths of those below the channel's highest."""
    offsets = 256 * torch.arange(3, dtype=torch.int32, device=pixels.device)
    codes = (pixels.round().int() + _along(pixels, offsets)).flatten()
    counts = codes.bincount(minlength=768).view(3, 256)
    below = counts.cumsum(1) - counts
    step = (below * (counts > 0)).amax(1, keepdim=True) // 255
    table = torch.where(step > 0, (step // 2 + below) // step.clamp(min=1), torch.arange(256, device=pixels.device))
    torch.index_select(table.clamp(max=255).to(pixels.dtype).flatten(), 0, codes, out=pixels.view(-1))


def _solarize(pixels: Tensor, level: int) -> None:
    """v above the threshold becomes 255 - v; as v - 2 w + 255, w = v there and 127.5 elsewhere."""
    high = torch.nn.functional.threshold(pixels, 256 - int(25.6 * level) - 0.5, WHITE / 2)
    pixels.add_(high, alpha=-2).add_(WHITE)


def _posterize(pixels: Tensor, level: int) -> None:
    step = 2 ** (4 + int(0.4 * level))
    pixels.add_(0.5).mul_(1 / step).floor_().mul_(step)


PHOTOMETRIC: dict[str, Callable[[Tensor, int], None]] = {
    "AutoContrast": _auto_contrast,
    "Equalize": _equalize,
    "Solarize": _solarize,
    "Color": lambda pixels, level: _blend(pixels, _grey(pixels), level),
    "Contrast": lambda pixels, level: _blend(pixels, _along(pixels, _grey(pixels.mean((0, 1)))), level),
    "Brightness": lambda pixels, level: _blend(pixels, pixels.new_zeros(()), level),
    "Sharpness": _sharpness,
    "Posterize": _posterize,
}
NAMES = ["Identity", *PHOTOMETRIC, *GEOMETRIC]
