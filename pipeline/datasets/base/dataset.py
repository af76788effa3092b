"""What every kind of data set has: samples, what is read of them, and the keys of its section in params.yaml."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from pydantic import AfterValidator, Field, PositiveInt

from fewmask.core.params import Section, Size

MASKS = "masks"  # dataset.tags: those of the training images' masks


@dataclass(frozen=True)
class Sample:
    """One image: its id (unique in the data set), its role, and where it lies (None: it is drawn)."""

    id: str
    role: str
    image: Path | None = None
    mask: Path | None = None


class Dataset(Protocol):
    """A data set opened for reading."""

    key: str  # its section of params.yaml, which errors name
    classes: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]

    def samples(self) -> list[Sample]:
        """Every image, ordered by role and id."""
        ...

    def read(self, sample: Sample) -> tuple[np.ndarray, np.ndarray | None]:
        """Image (H, W, 3) uint8 RGB and mask (H, W) uint8 of class ids, 255 = ignore, or None."""
        ...


class DomainConfig(Section):
    """What every data set has: beside itself, maybe a ``source``, a labelled data set of another domain.

    ``source`` is validated on its own, by the schema of its kind (opening.py). ``tags``, image-level labels of training
    images: a CSV file below ``root``, or ``masks``, what their masks show.
    """

    root: str  # what DVC watches
    source: dict[str, Any] = Field(default={})
    tags: str | None = None


Fit = Literal["stretch", "blocks", "pad"]


class FilesConfig(DomainConfig):
    """What every data set of files has.

    ``fit`` is how files come to ``size``. ``stretch``: bilinear for images, nearest for masks. ``blocks``: where blocks
    of whole pixels become one, their mean and the majority of their labels; else stretched. ``pad``: as they are, in
    the top left corner of a canvas; shrunk with their aspect kept where they are larger.
    """

    size: Size | None = None  # working size; null: every image has one size already
    fit: Fit = "stretch"
    max_pixels: PositiveInt = 50_000_000
    allow_symlinks: bool = False
    image_depth: Literal["refuse", "scale"] = "refuse"  # 16-bit images: refuse, or divide by 257


class PublicConfig(FilesConfig):
    """A data set that is the same for everyone: its classes, their ids and colours do not stand in params.yaml."""


def never_a_module(folder: str) -> AfterValidator:
    """Refuse a Python file as the ``root`` of a data set without files; expect ``folder`` of pipeline/, which has all.

    Until there was a folder for each kind, params named the file that drew the scenes.
    """

    def check(root: str) -> str:
        if root.endswith(".py"):
            raise ValueError(f"found {root!r}; expected the folder of its code. Write 'root: {folder}'")
        return root

    return AfterValidator(check)
