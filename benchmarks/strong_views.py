"""Strong views, tensors in and out, against PIL image by image with the same draws.

Batches of ten images, each with a label map and a map of valid pixels; eight draws a round, after the default
StrongViews. ``ours`` draws as well; the others are given the draws:

- ``released``: the pattern of the released code. An image becomes bytes and a PIL image; maps of row and column
  numbers and the map of valid pixels go through the geometric operations beside it; all come back as lists of
  Python numbers; label maps are looked up through the two maps in numpy.
- ``released_no_lists``: the same, coming back as arrays.
- ``pil``: an image becomes bytes and a PIL image, its maps go through the geometric operations as they are; results
  are tensors again, the image mapped back to its range.
- ``pil_alone``: the same, from PIL images to PIL images.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from torch import Tensor
from torch.nn import functional as F

from benchmarks.timing import Bench, Result, take_turns
from fewmask.learning.views import IGNORE
from fewmask.methods.three_stage.strong import GEOMETRIC, Hole, Operation, Strong, StrongViews, draw_strong

SIZES = (321, 321), (256, 512)
BATCH, DRAWS, CLASSES = 10, 8, 21
GREY = 127
TARGETS = {"released": 10.0, "released_no_lists": None, "pil": 1.5, "pil_alone": None}

Picture = Image.Image
Maps = tuple[Tensor, Tensor]  # labels and valid pixels, both (B, H, W) uint8


# ---- the operations through PIL


def enhanced(enhancer: Callable[[Picture], Any]) -> Callable[[Picture, int], Picture]:
    """One of ImageEnhance's as an operation with a level."""
    return lambda image, level: enhancer(image).enhance(0.18 * level + 0.1)


PHOTOMETRIC: dict[str, Callable[[Picture, int], Picture]] = {
    "AutoContrast": lambda image, level: ImageOps.autocontrast(image),
    "Equalize": lambda image, level: ImageOps.equalize(image),
    "Solarize": lambda image, level: ImageOps.solarize(image, 256 - int(25.6 * level)),
    "Color": enhanced(ImageEnhance.Color),
    "Contrast": enhanced(ImageEnhance.Contrast),
    "Brightness": enhanced(ImageEnhance.Brightness),
    "Sharpness": enhanced(ImageEnhance.Sharpness),
    "Posterize": lambda image, level: ImageOps.posterize(image, 4 - int(0.4 * level)),
}
AFFINES: dict[str, Callable[[int], tuple[float, ...]]] = {
    "ShearX": lambda level: (1, 0.03 * level, 0, 0, 1, 0),
    "ShearY": lambda level: (1, 0, 0, 0.03 * level, 1, 0),
    "TranslateX": lambda level: (1, 0, level, 0, 1, 0),
    "TranslateY": lambda level: (1, 0, 0, 0, 1, level),
}
RGB_ONLY = "AutoContrast", "Equalize", "Solarize", "Posterize"  # these refuse a fourth channel


def recoloured(image: Picture, name: str, level: int) -> Picture:
    """One photometric operation; where it takes no alpha the image goes to RGB and back, as in the released code."""
    if image.mode == "RGBA" and name in RGB_ONLY:
        return PHOTOMETRIC[name](image.convert("RGB"), abs(level)).convert("RGBA")
    return PHOTOMETRIC[name](image, abs(level))


def moved(image: Picture, name: str, level: int, fill: int | tuple[int, ...]) -> Picture:
    """One geometric operation, nearest."""
    if name == "Rotate":
        return image.rotate(3 * level, fillcolor=fill)
    return image.transform(image.size, Image.Transform.AFFINE, AFFINES[name](level), fillcolor=fill)


def augmented(image: Picture, operations: list[Operation], fill: tuple[int, ...]) -> Picture:
    """All operations."""
    for name, level in operations:
        image = moved(image, name, level, fill) if name in GEOMETRIC else recoloured(image, name, level)
    return image


def carried(maps: list[Picture], operations: list[Operation], fills: list[int]) -> list[Picture]:
    """The geometric operations alone."""
    for name, level in operations:
        if name in GEOMETRIC:
            maps = [moved(each, name, level, fill) for each, fill in zip(maps, fills, strict=True)]
    return maps


def with_holes(image: Picture, holes: list[Hole]) -> Picture:
    """Cutout, in place."""
    draw = ImageDraw.Draw(image)
    for top, bottom, left, right in holes:
        draw.rectangle((left, top, right - 1, bottom - 1), (GREY,) * 3)
    return image


def as_bytes(x: Tensor) -> tuple[Picture, float, float]:
    """(3, H, W) -> a PIL image, stretched; its minimum and maximum."""
    array = x.permute(1, 2, 0).numpy()
    low, high = float(array.min()), float(array.max())
    return Image.fromarray(((array - low) * (255 / (high - low))).astype(np.uint8)), low, high


def stacked(arrays: list[np.ndarray]) -> Tensor:
    """(H, W, ...) each -> (B, H, W, ...)."""
    return torch.from_numpy(np.stack(arrays))


# ---- the ways to do it


def with_index_maps(x: Tensor, maps: Maps, view: Strong, array: Callable[[Picture], np.ndarray]) -> tuple[Tensor, ...]:
    """The released code's pattern; alpha 0 marks the outside. ``array`` makes one of a PIL image."""
    (height, width), images, labels, valid = view.size, [], [], []
    rows, columns = np.indices(view.size, np.int32)
    for index, (operations, holes) in enumerate(zip(view.operations, view.holes, strict=True)):
        image, low, high = as_bytes(x[index])
        out = array(augmented(image.convert("RGBA"), operations, (0, 0, 0, 0))).reshape(height, width, 4)
        colours = out[..., :3].astype(np.float32) * ((high - low) / 255) + low
        colours[out[..., 3] == 0] = (low + high) / 2
        for top, bottom, left, right in holes:
            colours[top:bottom, left:right] = (low + high) / 2
        beside = [Image.fromarray(each) for each in (rows, columns, maps[1][index].numpy())]
        row, column, kept = (array(each).reshape(view.size) for each in carried(beside, operations, [0, 0, 0]))
        label = maps[0][index].numpy()[row, column]
        label[kept == 0] = IGNORE
        images.append(colours)
        labels.append(label)
        valid.append(kept.astype(np.uint8))
    return stacked(images).permute(0, 3, 1, 2), stacked(labels), stacked(valid)


def listed(image: Picture) -> np.ndarray:
    """Through a list of Python numbers; Pillow 12.1 gave it a new name."""
    flat = image.get_flattened_data() if hasattr(image, "get_flattened_data") else image.getdata()
    return np.array(flat)


def with_pil(x: Tensor, maps: Maps, view: Strong) -> tuple[Tensor, ...]:
    """PIL from and to tensors."""
    images, labels, valid = [], [], []
    for index, (operations, holes) in enumerate(zip(view.operations, view.holes, strict=True)):
        image, low, high = as_bytes(x[index])
        image = with_holes(augmented(image, operations, (GREY,) * 3), holes)
        images.append(np.asarray(image, np.float32) * ((high - low) / 255) + low)
        beside = carried([Image.fromarray(each[index].numpy()) for each in maps], operations, [IGNORE, 0])
        labels.append(np.asarray(beside[0]))
        valid.append(np.asarray(beside[1]))
    return stacked(images).permute(0, 3, 1, 2), stacked(labels), stacked(valid)


def with_pil_alone(images: list[Picture], maps: list[list[Picture]], view: Strong) -> list[Picture]:
    """PIL images in and out."""
    out = []
    for image, beside, operations, holes in zip(images, maps, view.operations, view.holes, strict=True):
        out.append(with_holes(augmented(image.copy(), operations, (GREY,) * 3), holes))
        out += carried(beside, operations, [IGNORE, 0])
    return out


def with_ours(x: Tensor, maps: Maps, size: tuple[int, int]) -> tuple[Tensor, ...]:
    """As a training step does it."""
    view = draw_strong(StrongViews(), BATCH, size)
    return view.images(x), view.labels(maps[0]), view.labels(maps[1], 0)


# ---- measuring


def data(size: tuple[int, int]) -> tuple[Tensor, Maps]:
    """Normalised bytes of smooth noise, channels last in memory; blobs as labels; one pixel of twenty not valid."""
    noise = F.interpolate(torch.randn(BATCH, 3, 24, 24), size, mode="bicubic") + 0.1 * torch.randn(BATCH, 3, *size)
    low, high = noise.amin((1, 2, 3), True), noise.amax((1, 2, 3), True)
    x = ((255 * (noise - low) / (high - low)).round() / 255 - 0.45) / 0.225
    scores = F.interpolate(torch.randn(BATCH, CLASSES, 9, 9), size, mode="bilinear")
    valid = (torch.rand(BATCH, *size) > 0.05).byte()
    return x.contiguous(memory_format=torch.channels_last), (scores.argmax(1).byte(), valid)


def drawn(size: tuple[int, int]) -> list[Strong]:
    """The same draws as ``with_ours`` makes after this seed."""
    torch.manual_seed(1)
    return [draw_strong(StrongViews(), BATCH, size) for _ in range(DRAWS)]


def measure(bench: Bench) -> list[Result]:
    """At two sizes."""
    torch.manual_seed(0)
    return [result for size in SIZES for result in ratios(size, bench.some(9, 1))]


def ratios(size: tuple[int, int], rounds: int) -> list[Result]:
    """The ratios at one size; seconds are those of an image with its two maps."""
    x, maps = data(size)
    views, images = drawn(size), [as_bytes(each)[0] for each in x]
    pairs = [[Image.fromarray(each[index].numpy()) for each in maps] for index in range(BATCH)]

    def ours() -> None:
        torch.manual_seed(1)
        for _ in range(DRAWS):
            with_ours(x, maps, size)

    turns = take_turns(
        rounds,
        ours=ours,
        released=lambda: [with_index_maps(x, maps, view, listed) for view in views],
        released_no_lists=lambda: [with_index_maps(x, maps, view, np.asarray) for view in views],
        pil=lambda: [with_pil(x, maps, view) for view in views],
        pil_alone=lambda: [with_pil_alone(images, pairs, view) for view in views],
    )
    title = f"strong views {size[0]}x{size[1]} against"
    return [turns.against(f"{title} {name}", name, least=least, each=BATCH * DRAWS) for name, least in TARGETS.items()]
