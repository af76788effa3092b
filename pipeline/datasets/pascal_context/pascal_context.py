"""PASCAL-Context (Mottaghi et al. 2014), 59 classes and background, as mmsegmentation's converter writes its masks."""

from pathlib import Path
from typing import Literal

import numpy as np

from fewmask.core.errors import DataError
from fewmask.core.masks import IGNORE
from fewmask.core.params import Size
from fewmask.core.progress import warn
from fewmask.datasets.base.classes import lookup_table, voc_colour
from fewmask.datasets.base.dataset import Fit, PublicConfig, Sample
from fewmask.datasets.base.imagefiles import ImageFiles
from fewmask.datasets.base.lists import find_leaks, named_samples

CLASSES = (
    *("background", "aeroplane", "bag", "bed", "bedclothes", "bench", "bicycle", "bird", "boat", "book", "bottle"),
    *("building", "bus", "cabinet", "car", "cat", "ceiling", "chair", "cloth", "computer", "cow", "cup", "curtain"),
    *("dog", "door", "fence", "floor", "flower", "food", "grass", "ground", "horse", "keyboard", "light", "motorbike"),
    *("mountain", "mouse", "person", "plate", "platform", "pottedplant", "road", "rock", "sheep", "shelves"),
    *("sidewalk", "sign", "sky", "snow", "sofa", "table", "track", "train", "tree", "truck", "tvmonitor", "wall"),
    *("water", "window", "wood"),
)
IMAGES, MASKS = "JPEGImages", "SegmentationClassContext"
TRAIN, VAL = (f"ImageSets/SegmentationContext/{name}.txt" for name in ("train", "val"))
CONVERTER = "mmsegmentation's tools/dataset_converters/pascal_context.py"
REMEDY = f"Convert masks of 459 classes to the 60 with {CONVERTER}."


class Config(PublicConfig):
    """PASCAL-Context: VOC2010 with SegmentationClassContext/ and ImageSets/SegmentationContext/; at most 500x500."""

    kind: Literal["pascal_context"]
    size: Size | None = (505, 505)
    fit: Fit = "pad"


class PascalContext:
    """Masks are PNGs of class ids: 0 is the background, a class like any other; nothing is void but 255.

    The ids of the 59 rise with those that the same classes have among all 459, in the order of the alphabet. The list
    that Stanford published with the data and the evaluator of the s4GAN code (Mittal et al.) have two other orders:
    scores of single classes compare by name, never by id. There is no test role: split lets validation play test.
    """

    classes: tuple[str, ...] = CLASSES
    colours: tuple[tuple[int, int, int], ...] = tuple(voc_colour(index) for index in range(len(CLASSES)))

    def __init__(self, config: Config, key: str):
        self.key, self.root = key, Path(config.root)
        self.files = ImageFiles(config, key)
        self.lookup = lookup_table(range(len(CLASSES)))
        self.told = False

    def samples(self) -> list[Sample]:
        self._check_layout()
        folders = {name: self.files.images_in(self.root / name) for name in (IMAGES, MASKS)}
        train, held_out = (self.files.names_in(self.root / name) for name in (TRAIN, VAL))
        leaks = find_leaks(self.root / TRAIN, train, held_out)
        return named_samples({"train": train, "validation": held_out}, folders, leaks)

    def _check_layout(self) -> None:
        """Refuse a root without its folders and lists.

        Raises:
            DataError: with all that is missing, and where it comes from.
        """
        folders = [name for name in (IMAGES, MASKS) if not (self.root / name).is_dir()]
        missing = [*folders, *(name for name in (TRAIN, VAL) if not (self.root / name).is_file())]
        if missing:
            found = f"{self.root}: holds no {', '.join(missing)}; expected {IMAGES}, {MASKS}, {TRAIN} and {VAL}"
            voc = "the VOC2010 of VOCtrainval_03-May-2010.tar"
            remedy = f"Set {self.key}.root to {voc}, and make the rest with {CONVERTER}"
            raise DataError(f"{found}. {remedy} (docs/datasets.md).")

    def read(self, sample: Sample) -> tuple[np.ndarray, np.ndarray | None]:
        assert sample.image
        image, mask = self.files.read(sample, self.lookup, REMEDY)
        height, width = self.files.read_extent(sample.image)
        if not self.told and (mask[:height, :width] == IGNORE).any():
            self.told = True
            found = f"{sample.mask}: holds 255, read as void; no mask of the 60 classes does as it is converted"
            warn(f"{found}. Where 255 is the background, the ids count 59 classes from 0: make masks with {CONVERTER}.")
        return image, mask


def open_dataset(config: Config, key: str = "dataset") -> PascalContext:
    """The images and masks of a validated section."""
    return PascalContext(config, key)
