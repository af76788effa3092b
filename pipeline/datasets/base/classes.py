"""Classes in mask files: the ids and colours that stand for them, and how pixels become class ids."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from fewmask.core.errors import DataError
from fewmask.core.masks import IGNORE

CITYSCAPES = {  # name: id in the files, colour; GTA5 is labelled alike
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}


def voc_colour(index: int) -> tuple[int, int, int]:
    """The palette of VOC: the bits of the index, three at a time, from the highest bit of r, g, b down."""
    rgb = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            rgb[channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
    return rgb[0], rgb[1], rgb[2]


def lookup_table(ids: Sequence[int], void: Iterable[int] = (IGNORE,)) -> np.ndarray:
    """(256,) int16, value in a mask file -> class id, 255 = ignore; -1 marks a value that may not occur.

    Args:
        ids: the value that each class has in the files.
        void: the values to ignore, unless they are a class's.
    """
    lookup = np.full(256, -1, np.int16)
    lookup[list(void)] = IGNORE
    lookup[list(ids)] = np.arange(len(ids))
    return lookup


def from_values(path: Path, values: np.ndarray, lookup: np.ndarray, remedy: str) -> np.ndarray:
    """Pixel values (H, W) of a mask file, 0..255 -> class ids (H, W) uint8.

    Raises:
        DataError: a value that may not occur, with its place.
    """
    ids = lookup[values.astype(np.uint8)]
    _refuse_first(path, ids < 0, lambda y, x: f"class id {values[y, x]}", _allowed(lookup), remedy)
    return ids.astype(np.uint8)


def from_colours(path: Path, rgb: np.ndarray, colours: np.ndarray, key: str, remedy: str) -> np.ndarray:
    """(H, W, 3) uint8 -> class ids (H, W) uint8 by exact colour; ``key`` of params.yaml holds the colours.

    Args:
        colours: (C + 1, 3) uint8, the last one's pixels are void.

    Raises:
        DataError: another colour, with its place.
    """
    packed = rgb.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    known = colours.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    order = np.argsort(known, kind="stable")  # a class drawn in black comes before black = ignore
    place = np.searchsorted(known[order], packed).clip(0, len(known) - 1)
    ids = order[place]
    wrong = known[ids] != packed
    _refuse_first(path, wrong, lambda y, x: f"colour {tuple(rgb[y, x].tolist())}", f"the colours of {key}", remedy)
    return np.where(ids == len(known) - 1, IGNORE, ids).astype(np.uint8)


def _refuse_first(path: Path, wrong: np.ndarray, name: Callable[[int, int], str], expected: str, remedy: str) -> None:
    if not wrong.any():
        return
    row, column = (int(value) for value in np.argwhere(wrong)[0])
    raise DataError(f"{path}: {name(row, column)} at row {row}, column {column}; expected {expected}. {remedy}")


def _allowed(lookup: np.ndarray) -> str:
    classes = np.flatnonzero((lookup >= 0) & (lookup != IGNORE))
    ignored = np.flatnonzero(lookup == IGNORE)
    return f"{classes.min()}..{classes.max()} or {', '.join(map(str, ignored))} (ignore)"
