"""Class ids as colours, and which images are shown."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fewmask.core.masks import IGNORE

EXAMPLES = 6


def palette_image(labels: np.ndarray, colours: Sequence[Sequence[int]]) -> Image.Image:
    """(H, W) uint8 ids -> a palette PNG image; its pixel values are the ids, 255 is black."""
    image = Image.fromarray(labels, "P")
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours
    table[IGNORE] = 0
    image.putpalette(table.tobytes())
    return image


def save_strip(path: Path, strip: Image.Image, origin: Mapping[str, str]) -> None:
    """Write predictions as a PNG that says, unseen, which images and split they are of."""
    info = PngInfo()
    for key, value in origin.items():
        info.add_text(key, value)
    strip.save(path, "PNG", pnginfo=info)


def examples(names: Sequence[str]) -> list[str]:
    """A few of ``names``, evenly spaced; evaluation draws the predictions that the report shows."""
    places = np.linspace(0, len(names) - 1, min(EXAMPLES, len(names))).round().astype(int)
    return [names[place] for place in places]
