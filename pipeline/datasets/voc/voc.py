"""PASCAL VOC 2012, 20 classes and background, alone or with the masks of SBD that the papers train on."""

from pathlib import Path

import numpy as np

from fewmask.core.errors import DataError, raise_all
from fewmask.core.masks import IGNORE
from fewmask.core.progress import warn
from fewmask.datasets.base.dataset import Sample, VocConfig
from fewmask.datasets.base.imagefiles import list_images, read_image, read_mask
from fewmask.datasets.base.lists import Names, find_leaks, named_samples, read_names

CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
IMAGES, MASKS, AUGMENTED, LISTS = "JPEGImages", "SegmentationClass", "SegmentationClassAug", "ImageSets/Segmentation"


def voc_colour(index: int) -> tuple[int, int, int]:
    """The palette of VOC: the bits of the index, three at a time, from the highest bit of r, g, b down."""
    rgb = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            rgb[channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
    return rgb[0], rgb[1], rgb[2]


class Voc:
    """Masks are palette or grey PNGs: the pixel's value is the class id, 255 the border of objects.

    ``val`` has the masks of VOC, and there is no test role: split lets validation play test. The masks of ``train`` are
    in SegmentationClassAug/ where ``augmented``; its names are those of train_aug.txt, or all that are not in val.txt.
    """

    classes: tuple[str, ...] = CLASSES
    colours: tuple[tuple[int, int, int], ...] = tuple(voc_colour(index) for index in range(len(CLASSES)))

    def __init__(self, config: VocConfig):
        self.config = config
        self.root = Path(config.root)
        self.list = self.root / LISTS / ("train_aug.txt" if config.augmented else "train.txt")
        self.lookup = np.full(256, -1, np.int16)
        self.lookup[: len(CLASSES)] = np.arange(len(CLASSES))
        self.lookup[IGNORE] = IGNORE
        if config.augmented and (self.root / AUGMENTED).is_dir() and not self.list.is_file():
            warn(f"{self.list}: no such file; every mask of {AUGMENTED} that is not in val.txt is for training")

    def samples(self) -> list[Sample]:
        images, masks = (list_images(self.root / name, self.config) for name in (IMAGES, MASKS))
        held_out = read_names(self.root / LISTS / "val.txt")
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
        names = read_names(self.list)
        raise_all(find_leaks(self.list, names, held_out), DataError)
        return names

    def _augmented(self) -> dict[str, Path]:
        folder = self.root / AUGMENTED
        if not folder.is_dir():
            remedy = "Put them there, or set dataset.augmented: false to train on the 1464 images of VOC"
            raise DataError(f"{folder}: no such folder; expected the masks of 10582 training images. {remedy}.")
        return list_images(folder, self.config)

    def read(self, sample: Sample) -> tuple[np.ndarray, np.ndarray | None]:
        assert sample.image and sample.mask
        image = read_image(sample.image, self.config)
        return image, read_mask(sample.mask, sample.image, self.config, self.lookup, None)
