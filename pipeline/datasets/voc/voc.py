"""PASCAL VOC 2012, 20 classes and background, alone or with the masks of SBD that the papers train on."""

from pathlib import Path
from typing import Literal

import numpy as np

from fewmask.core.errors import DataError, raise_all
from fewmask.core.params import Size
from fewmask.core.progress import warn
from fewmask.datasets.base.classes import lookup_table, voc_colour
from fewmask.datasets.base.dataset import Fit, PublicConfig, Sample
from fewmask.datasets.base.imagefiles import ImageFiles
from fewmask.datasets.base.lists import Names, find_leaks, named_samples

CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
IMAGES, MASKS, AUGMENTED, LISTS = "JPEGImages", "SegmentationClass", "SegmentationClassAug", "ImageSets/Segmentation"


class Config(PublicConfig):
    """PASCAL VOC 2012: the folder that holds JPEGImages/, SegmentationClass/ and ImageSets/; no image exceeds 500x500.

    ``augmented``: train on the 10582 images with masks in SegmentationClassAug/, not on the 1464 of VOC alone.
    """

    kind: Literal["voc"]
    augmented: bool = True
    size: Size | None = (505, 505)
    fit: Fit = "pad"


class Voc:
    """Masks are palette or grey PNGs: the pixel's value is the class id, 255 the border of objects.

    ``val`` has the masks of VOC, and there is no test role: split lets validation play test. The masks of ``train`` are
    in SegmentationClassAug/ where ``augmented``; its names are those of train_aug.txt, or all that are not in val.txt.
    """

    classes: tuple[str, ...] = CLASSES
    colours: tuple[tuple[int, int, int], ...] = tuple(voc_colour(index) for index in range(len(CLASSES)))

    def __init__(self, config: Config, key: str):
        self.config, self.key, self.root = config, key, Path(config.root)
        self.files = ImageFiles(config, key)
        self.list = self.root / LISTS / ("train_aug.txt" if config.augmented else "train.txt")
        self.lookup = lookup_table(range(len(CLASSES)))
        if config.augmented and (self.root / AUGMENTED).is_dir() and not self.list.is_file():
            warn(f"{self.list}: no such file; every mask of {AUGMENTED} that is not in val.txt is for training")

    def samples(self) -> list[Sample]:
        images, masks = (self.files.images_in(self.root / name) for name in (IMAGES, MASKS))
        held_out = self.files.names_in(self.root / LISTS / "val.txt")
        validation = named_samples({"validation": held_out}, {IMAGES: images, MASKS: masks})
        if not self.config.augmented:
            train = self._without(held_out)
            return [*named_samples({"train": train}, {IMAGES: images, MASKS: masks}), *validation]
        more = self._augmented()
        if self.list.is_file():
            train = self._without(held_out)
        else:
            train = {name: str(path) for name, path in more.items() if name not in held_out}
        return [*named_samples({"train": train}, {IMAGES: images, AUGMENTED: more}), *validation]

    def _without(self, held_out: Names) -> Names:
        """The names of the training list.

        Raises:
            DataError: some of them are held out.
        """
        names = self.files.names_in(self.list)
        raise_all(find_leaks(self.list, names, held_out), DataError)
        return names

    def _augmented(self) -> dict[str, Path]:
        folder = self.root / AUGMENTED
        if not folder.is_dir():
            remedy = f"Put them there, or set {self.key}.augmented: false to train on the 1464 images of VOC"
            raise DataError(f"{folder}: no such folder; expected the masks of 10582 training images. {remedy}.")
        return self.files.images_in(folder)

    def read(self, sample: Sample) -> tuple[np.ndarray, np.ndarray | None]:
        return self.files.read(sample, self.lookup)


def open_dataset(config: Config, key: str = "dataset") -> Voc:
    """The images and masks of a validated section."""
    return Voc(config, key)
