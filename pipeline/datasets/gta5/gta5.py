"""GTA5, "Playing for Data" (Richter et al. 2016): a game's streets, labelled with the 19 classes of Cityscapes."""

from pathlib import Path

import numpy as np

from fewmask.core.errors import DataError
from fewmask.core.masks import IGNORE
from fewmask.core.progress import say
from fewmask.datasets.base.dataset import Gta5Config, Sample
from fewmask.datasets.base.imagefiles import list_images, read_image, read_mask, same_size
from fewmask.datasets.cityscapes.cityscapes import TABLE

IDS = 35  # 0..34 are the ids of Cityscapes; a licence plate, there -1, is 34
BROKEN = ("15188", "17705")  # as published, the label is of another size than its image
IMAGES, LABELS = "images", "labels"


class Gta5:
    """Labels are palette PNGs: a pixel's index is its id, void unless TABLE has it. All images are for training."""

    classes: tuple[str, ...] = tuple(TABLE)
    colours: tuple[tuple[int, int, int], ...] = tuple(colour for _, colour in TABLE.values())

    def __init__(self, config: Gta5Config):
        self.config = config
        self.root = Path(config.root)
        self.lookup = np.full(256, -1, np.int16)
        self.lookup[:IDS] = IGNORE
        self.lookup[[number for number, _ in TABLE.values()]] = np.arange(len(TABLE))
        self.told = False

    def samples(self) -> list[Sample]:
        images, labels = (self._files(name) for name in (IMAGES, LABELS))
        odd = sorted(images.keys() ^ labels.keys())
        if odd:
            found = f"{len(odd)} names in only one of {IMAGES} and {LABELS}, such as '{odd[0]}'"
            remedy = "Unpack the ten archives of images and the ten of labels again."
            raise DataError(f"{self.root}: {found}; expected a label for each image. {remedy}")
        known = [name for name in BROKEN if name in images]
        broken = [name for name in known if not same_size(labels[name], images[name], self.config)]
        if broken and not self.told:
            say(f"{self.root}: {len(broken)} images left out, whose labels were published broken: {', '.join(broken)}")
            self.told = True
        return [Sample(name, "train", images[name], labels[name]) for name in images if name not in broken]

    def _files(self, name: str) -> dict[str, Path]:
        folder = self.root / name
        found = list_images(folder, self.config) if folder.is_dir() else {}
        if not found:
            below = ", ".join(sorted(path.name for path in folder.glob("*/")))
            what = f"holds no image but in {below}" if below else "holds no image"
            remedy = "Move the files up into it." if below else "Unpack the archives there, or mend dataset.root."
            expected = f"{self.root}/{IMAGES}/00001.png... and {self.root}/{LABELS}/00001.png..., as published"
            raise DataError(f"{folder}: {what}; expected {expected}. {remedy}")
        return found

    def read(self, sample: Sample) -> tuple[np.ndarray, np.ndarray | None]:
        assert sample.image and sample.mask
        image = read_image(sample.image, self.config)
        return image, read_mask(sample.mask, sample.image, self.config, self.lookup, None)
