"""A folder of the user's own: images/, masks/ for some of them, and optionally unlabelled/, validation/, test/."""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from fewmask.core.errors import ConfigError, DataError, raise_all
from fewmask.core.masks import IGNORE
from fewmask.core.progress import warn
from fewmask.datasets.base.classes import lookup_table, voc_colour
from fewmask.datasets.base.dataset import FilesConfig, Sample
from fewmask.datasets.base.imagefiles import ImageFiles, refuse_leaks

FOLDERS = {"images", "masks", "unlabelled", "validation", "test"}


class Config(FilesConfig):
    """A folder of the user's own; its layout is in docs/datasets.md."""

    kind: Literal["folder"]
    classes: list[str] = Field(min_length=2, max_length=255)
    colours: list[list[int]] | None = None  # needed for RGB masks; otherwise used for display only
    ignore: int = Field(default=255, ge=0, le=255)


class Folder:
    """images/ + masks/ and unlabelled/ are train; validation/{images,masks} and test/{images,masks} their roles.

    A mask has its image's name (0001.jpg, 0001.png). Images without a mask are unlabelled.
    """

    def __init__(self, config: Config, key: str):
        self.config, self.key, self.root = config, key, Path(config.root)
        self.files = ImageFiles(config, key)
        self.classes = tuple(config.classes)
        self.colours = _colours(config, key)
        if config.ignore < len(self.classes):
            found = f"{config.ignore} is the id of the class '{self.classes[config.ignore]}'"
            remedy = "Give void pixels another id in the masks, or leave ignore out."
            raise ConfigError(f"{key}.ignore: {found}; expected {len(self.classes)}..255. {remedy}")
        self.lookup = lookup_table(range(len(self.classes)), void=[IGNORE, config.ignore])

    def samples(self) -> list[Sample]:
        odd = sorted(path.name for path in self.root.glob("[!.]*/") if path.name not in FOLDERS)
        if odd:
            warn(f"{self.root}: not read: {', '.join(odd)}; the folders are {', '.join(sorted(FOLDERS))}")
        found = self._labelled("train", self.root / "images", self.root / "masks")
        if (self.root / "unlabelled").is_dir():
            images = self.files.images_in(self.root / "unlabelled")
            found += [Sample(key, "train", path) for key, path in images.items()]
        for role in ("validation", "test"):
            if (self.root / role).is_dir():
                found += self._labelled(role, self.root / role / "images", self.root / role / "masks")
        refuse_leaks(found)
        return found

    def _labelled(self, role: str, images: Path, masks: Path) -> list[Sample]:
        paths, targets = self.files.images_in(images), self.files.images_in(masks)
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
        image = self.files.read_image(sample.image)
        if sample.mask is None:
            return image, None
        declared = self.config.colours and np.array([*self.colours, (0, 0, 0)], np.uint8)
        colours = declared if isinstance(declared, np.ndarray) else None
        return image, self.files.read_mask(sample.mask, sample.image, self.lookup, colours)


def open_dataset(config: Config, key: str = "dataset") -> Folder:
    """The images and masks of a validated section.

    Raises:
        ConfigError: classes, colours and ``ignore`` do not go together.
    """
    return Folder(config, key)


def _colours(config: Config, key: str) -> tuple[tuple[int, int, int], ...]:
    if len(set(config.classes)) < len(config.classes):
        raise ConfigError(f"{key}.classes: a name stands twice; expected each once. Rename one.")
    if config.colours is None:
        return tuple(voc_colour(index + 1) for index in range(len(config.classes)))
    good = all(len(colour) == 3 and all(0 <= value <= 255 for value in colour) for colour in config.colours)
    if not good or len(config.colours) != len(config.classes):
        found = f"{len(config.colours)} colours for {len(config.classes)} classes"
        raise ConfigError(f"{key}.colours: {found}; expected one [r, g, b] of 0..255 a class. Fix the list.")
    return tuple((r, g, b) for r, g, b in config.colours)
