"""Bring a published data set into the layout of the kind `folder`: images/, masks/, test/images/ and test/masks/.

    python -m experiments.evidence msrc SOURCE OUT

Writes OUT, whole or not at all, and prints what belongs under `dataset:`. An image is for test by its name alone,
whatever the seed. Where a person gets each set is in experiments/README.md. Costs: seconds.
"""

import argparse
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fewmask.core.errors import DataError, raise_all
from fewmask.core.masks import IGNORE
from fewmask.core.progress import say
from fewmask.core.stage import run_command

ODD = 254  # of no class
TEST = 80  # of the 256 values of a name's first byte
MSRC = (
    "building grass tree cow sheep sky airplane water face car bicycle "
    "flower sign bird book chair road cat dog body boat"
)
TILES = "free blowhole break crack fray uneven"
CELLS = "background cytoplasm nucleus"
SECTION = """\
dataset:
  kind: folder
  root: {root}
  size: {size}
  classes: [{classes}]
  source: {{kind: none, root: params.yaml, size: null}}"""
Ids = Callable[[np.ndarray, Path], np.ndarray]  # a published mask (H, W) uint8 and its image's path -> class ids


@dataclass(frozen=True)
class Published:
    """Which ``images`` a set has; the folder of their masks, beside them; what a mask says; the size to work at.

    ``decides`` is the part of a name that puts an image into the test part or not.
    """

    classes: tuple[str, ...]
    images: str
    masks: str
    ids: Ids
    size: tuple[int, int]
    decides: Callable[[str], str] = str


def same(mask: np.ndarray, image: Path) -> np.ndarray:
    """Class ids already."""
    return mask


def defects(mask: np.ndarray, image: Path) -> np.ndarray:
    """Above 127 is the defect that the folder names: MT_Crack/Imgs."""
    kind, names = image.parents[1].name.removeprefix("MT_").lower(), TILES.split()
    return np.where(mask > 127, names.index(kind) if kind in names else ODD, 0).astype(np.uint8)


def greys(mask: np.ndarray, image: Path) -> np.ndarray:
    """0, 128 and 255 are classes 0, 1 and 2."""
    return np.select([mask == 0, mask == 128, mask == 255], [0, 1, 2], ODD).astype(np.uint8)


def neighbours(stem: str) -> str:
    """exp1_num_108719 -> 10: photographs of one tile have numbers that are near each other."""
    return stem.rpartition("_")[2][:-4]


SETS = {
    "msrc": Published(tuple(MSRC.split()), "images/*.jpg", "../masks", same, (120, 160)),
    "magnetic_tiles": Published(tuple(TILES.split()), "MT_*/Imgs/*.jpg", ".", defects, (128, 128), neighbours),
    "blood_cells": Published(tuple(CELLS.split()), "Dataset 1/*.bmp", ".", greys, (120, 120)),
}


def is_test(name: str) -> bool:
    """Whether images of this name are for test: about 31 % of the names are."""
    return hashlib.sha256(name.encode()).digest()[0] < TEST


def convert(kind: Published, source: Path, out: Path) -> int:
    """Write the layout into ``out``; how many images it has.

    Raises:
        DataError: no image, an image without its mask, or a mask with a value that is no class.
    """
    images = sorted(source.glob(kind.images))
    if not images:
        raise DataError(
            f"{source}: has no {kind.images}; expected the layout that experiments/README.md shows. Fix the path."
        )
    masks = [image.parent / kind.masks / f"{image.stem}.png" for image in images]
    missing = [mask for mask in masks if not mask.is_file()]
    raise_all(
        [f"{mask}: no such file; expected a mask for each image. Copy the set again." for mask in missing], DataError
    )
    for role in (out, out / "test"):
        for name in ("images", "masks"):
            (role / name).mkdir(parents=True)
    for image, mask in zip(images, masks, strict=True):
        folder = out / "test" if is_test(kind.decides(image.stem)) else out
        with Image.open(mask) as file:
            ids = kind.ids(np.asarray(file.convert("L")), image)
        if not np.isin(ids, [*range(len(kind.classes)), IGNORE]).all():
            found = f"{mask}: holds a value that is no class"
            raise DataError(f"{found}; expected the values of the set as it is published. Copy it again.")
        shutil.copyfile(image, folder / "images" / image.name)
        Image.fromarray(ids).save(folder / "masks" / mask.name)
    return len(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("source", type=Path, help="the folder as it is published")
    parser.add_argument("out", type=Path, help="a new folder")
    args = parser.parse_args()
    kind = SETS[args.set]
    if args.out.exists():
        raise DataError(f"{args.out}: exists already; expected a new folder. Move it away, or name another.")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.out.parent, prefix=f".{args.out.name}.") as folder:
        whole = Path(folder) / "whole"
        count = convert(kind, args.source, whole)
        os.rename(whole, args.out)
    test = len(list((args.out / "test/images").iterdir()))
    say(f"{args.out}: {count} images, {test} of them for test. In params.yaml:\n")
    say(SECTION.format(root=args.out.resolve(), size=list(kind.size), classes=", ".join(kind.classes)))


if __name__ == "__main__":
    run_command(main)
