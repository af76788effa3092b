"""A folder of the user's own: images/, masks/ for some of them, and optionally unlabelled/, validation/, test/."""

from pathlib import Path

import numpy as np

from fewmask.core.errors import ConfigError, DataError, raise_all
from fewmask.core.masks import IGNORE
from fewmask.core.progress import warn
from fewmask.datasets.base.dataset import FolderConfig, Sample
from fewmask.datasets.base.imagefiles import list_images, read_image, read_mask, refuse_leaks
from fewmask.datasets.voc.voc import voc_colour

FOLDERS = {"images", "masks", "unlabelled", "validation", "test"}


class Folder:
    """images/ + masks/ and unlabelled/ are train; validation/{images,masks} and test/{images,masks} their roles.

    A mask has its image's name (0001.jpg, 0001.png). Images without a mask are unlabelled.
    """

    def __init__(self, config: FolderConfig):
        self.config = config
        self.root = Path(config.root)
        self.classes = tuple(config.classes)
        self.colours = _colours(config)
        if config.ignore < len(self.classes):
            found = f"{config.ignore} is the id of the class '{self.classes[config.ignore]}'"
            remedy = "Give void pixels another id in the masks, or leave ignore out."
            raise ConfigError(f"dataset.ignore: {found}; expected {len(self.classes)}..255. {remedy}")
        self.lookup = np.full(256, -1, np.int16)
        self.lookup[: len(self.classes)] = np.arange(len(self.classes))
        self.lookup[[IGNORE, config.ignore]] = IGNORE

    def samples(self) -> list[Sample]:
        odd = sorted(path.name for path in self.root.glob("[!.]*/") if path.name not in FOLDERS)
        if odd:
            warn(f"{self.root}: not read: {', '.join(odd)}; the folders are {', '.join(sorted(FOLDERS))}")
        found = self._labelled("train", self.root / "images", self.root / "masks")
        if (self.root / "unlabelled").is_dir():
            images = list_images(self.root / "unlabelled", self.config)
            found += [Sample(key, "train", path) for key, path in images.items()]
        for role in ("validation", "test"):
            if (self.root / role).is_dir():
                found += self._labelled(role, self.root / role / "images", self.root / role / "masks")
        refuse_leaks(found)
        return found

    def _labelled(self, role: str, images: Path, masks: Path) -> list[Sample]:
        paths, targets = list_images(images, self.config), list_images(masks, self.config)
        orphans = sorted(targets.keys() - paths.keys())
        problems = [
            f"{targets[key]}: a mask without an image; expected {images}/{key}.*. Add or remove." for key in orphans
        ]
        if role != "train":
            bare = sorted(paths.keys() - targets.keys())
            problems += [
                f"{paths[key]}: no mask; expected {masks}/{key}.png in the {role} set. Add it." for key in bare
            ]
        raise_all(problems, DataError)
        return [Sample(key, role, path, targets.get(key)) for key, path in paths.items()]

    def read(self, sample: Sample) -> tuple[np.ndarray, np.ndarray | None]:
        assert sample.image
        image = read_image(sample.image, self.config)
        if sample.mask is None:
            return image, None
        declared = self.config.colours and np.array([*self.colours, (0, 0, 0)], np.uint8)
        colours = declared if isinstance(declared, np.ndarray) else None
        return image, read_mask(sample.mask, sample.image, self.config, self.lookup, colours)


def _colours(config: FolderConfig) -> tuple[tuple[int, int, int], ...]:
    if len(set(config.classes)) < len(config.classes):
        raise ConfigError("dataset.classes: a name stands twice; expected each once. Rename one.")
    if config.colours is None:
        return tuple(voc_colour(index + 1) for index in range(len(config.classes)))
    good = all(len(colour) == 3 and all(0 <= value <= 255 for value in colour) for colour in config.colours)
    if not good or len(config.colours) != len(config.classes):
        found = f"{len(config.colours)} colours for {len(config.classes)} classes"
        raise ConfigError(f"dataset.colours: {found}; expected one [r, g, b] of 0..255 a class. Mend the list.")
    return tuple((r, g, b) for r, g, b in config.colours)
