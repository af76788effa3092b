"""GTA5, "Playing for Data" (Richter et al. 2016): a game's streets, labelled with the 19 classes of Cityscapes."""

from pathlib import Path
from typing import Literal

import numpy as np

from fewmask.core.errors import DataError
from fewmask.core.params import Size
from fewmask.core.progress import say
from fewmask.datasets.base.classes import CITYSCAPES, lookup_table
from fewmask.datasets.base.dataset import PublicConfig, Sample
from fewmask.datasets.base.imagefiles import ImageFiles

IDS = 35  # 0..34 are the ids of Cityscapes; a licence plate, there -1, is 34
BROKEN = ("15188", "17705")  # as published, the label is of another size than its image
IMAGES, LABELS = "images", "labels"


class Config(PublicConfig):
    """GTA5 as it is unpacked: images/ and labels/ with 00001.png to 24966.png; most of 1052x1914, here at half size."""

    kind: Literal["gta5"]
    size: Size | None = (526, 957)


class Gta5:
    """Labels are palette PNGs: a pixel's index is its id, void unless the table has it. All images are for training."""

    classes: tuple[str, ...] = tuple(CITYSCAPES)
    colours: tuple[tuple[int, int, int], ...] = tuple(colour for _, colour in CITYSCAPES.values())

    def __init__(self, config: Config, key: str):
        self.key, self.root = key, Path(config.root)
        self.files = ImageFiles(config, key)
        self.lookup = lookup_table([number for number, _ in CITYSCAPES.values()], void=range(IDS))
        self.told = False

    def samples(self) -> list[Sample]:
        images, labels = (self._files(name) for name in (IMAGES, LABELS))
        odd = sorted(images.keys() ^ labels.keys())
        if odd:
            found = f"{len(odd)} names in only one of {IMAGES} and {LABELS}, such as '{odd[0]}'"
            remedy = "Unpack the ten archives of images and the ten of labels again."
            raise DataError(f"{self.root}: {found}; expected a label for each image. {remedy}")
        known = [name for name in BROKEN if name in images]
        broken = [name for name in known if not self.files.same_size(labels[name], images[name])]
        if broken and not self.told:
            say(f"{self.root}: {len(broken)} images left out, whose labels were published broken: {', '.join(broken)}")
            self.told = True
        return [Sample(name, "train", images[name], labels[name]) for name in images if name not in broken]

    def _files(self, name: str) -> dict[str, Path]:
        folder = self.root / name
        found = self.files.images_in(folder) if folder.is_dir() else {}
        if not found:
            below = ", ".join(sorted(path.name for path in folder.glob("*/")))
            what = f"holds no image but in {below}" if below else "holds no image"
            remedy = "Move the files up into it." if below else f"Unpack the archives there, or fix {self.key}.root."
            expected = f"{self.root}/{IMAGES}/00001.png... and {self.root}/{LABELS}/00001.png..., as published"
            raise DataError(f"{folder}: {what}; expected {expected}. {remedy}")
        return found

    def read(self, sample: Sample) -> tuple[np.ndarray, np.ndarray | None]:
        return self.files.read(sample, self.lookup)


def open_dataset(config: Config, key: str = "dataset") -> Gta5:
    """The images and masks of a validated section."""
    return Gta5(config, key)
