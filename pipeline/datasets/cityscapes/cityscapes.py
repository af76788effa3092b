"""Cityscapes, 19 classes, as www.cityscapes-dataset.com gives it after registration (research use only)."""

from pathlib import Path
from typing import Literal

import numpy as np

from fewmask.core.errors import DataError
from fewmask.core.masks import IGNORE
from fewmask.datasets.base.classes import CITYSCAPES, lookup_table
from fewmask.datasets.base.dataset import Fit, PublicConfig, Sample
from fewmask.datasets.base.imagefiles import ImageFiles, refuse_leaks

IDS = 34  # 0..33; a licence plate is -1, which is 255 in 8 bits
ROLES = {"train": "train", "validation": "val"}
IMAGES, MASKS = "leftImg8bit", "gtFine"
IMAGE, MASK = "_leftImg8bit.png", "_gtFine_labelIds.png"


class Config(PublicConfig):
    """Cityscapes as it is downloaded: leftImg8bit/{train,val}/ and gtFine/{train,val}/; images of 1024x2048."""

    kind: Literal["cityscapes"]
    fit: Fit = "blocks"


class Cityscapes:
    """Masks are grey PNGs of label ids. The masks of ``test`` are dummies: split lets validation play test."""

    classes: tuple[str, ...] = tuple(CITYSCAPES)
    colours: tuple[tuple[int, int, int], ...] = tuple(colour for _, colour in CITYSCAPES.values())

    def __init__(self, config: Config, key: str):
        self.key, self.root = key, Path(config.root)
        self.files = ImageFiles(config, key)
        self.lookup = lookup_table([number for number, _ in CITYSCAPES.values()], void=[*range(IDS), IGNORE])

    def samples(self) -> list[Sample]:
        wanted = [f"{kind}/{name}" for kind in (IMAGES, MASKS) for name in ROLES.values()]
        missing = [name for name in wanted if not (self.root / name).is_dir()]
        if missing:
            found = f"{self.root}: holds no {', '.join(missing)}; expected {', '.join(wanted)}"
            remedy = f"Unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip there, or fix {self.key}.root."
            raise DataError(f"{found}. {remedy}")
        found_samples = [sample for role, name in ROLES.items() for sample in self._samples(role, name)]
        refuse_leaks(found_samples)
        return found_samples

    def _samples(self, role: str, name: str) -> list[Sample]:
        folders = self.root / IMAGES / name, self.root / MASKS / name
        images, masks = self._files(folders[0], IMAGE), self._files(folders[1], MASK)
        odd = sorted(images.keys() ^ masks.keys())
        if odd or not images:
            found = f"{len(odd)} names in only one of the two, such as '{odd[0]}'" if odd else "no image in either"
            expected = f"expected for each {folders[0]}/CITY/NAME{IMAGE} a {folders[1]}/CITY/NAME{MASK}"
            raise DataError(f"{folders[0]} and {folders[1]}: {found}; {expected}. Unpack both archives again.")
        return [Sample(key, role, images[key], masks[key]) for key in sorted(images)]

    def _files(self, folder: Path, ending: str) -> dict[str, Path]:
        """City, sequence and frame (the beginning of the file's name) -> path, of all cities."""
        found: dict[str, Path] = {}
        for path in sorted(folder.glob(f"*/[!.]*{ending}")):
            self.files.require_inside(path)
            key = path.name.removesuffix(ending)
            if key in found:
                raise DataError(f"{path}: has the same name as {found[key]}; expected it in one city. Remove one.")
            found[key] = path
        return found

    def read(self, sample: Sample) -> tuple[np.ndarray, np.ndarray | None]:
        return self.files.read(sample, self.lookup)


def open_dataset(config: Config, key: str = "dataset") -> Cityscapes:
    """The images and masks of a validated section."""
    return Cityscapes(config, key)
