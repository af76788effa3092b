"""PASCAL VOC 2012, 20 classes and background, alone or with the masks of SBD that the papers train on."""

from pathlib import Path

import numpy as np

from pipeline.core.errors import DataError, raise_all
from pipeline.core.progress import warn
from pipeline.datasets.imagefiles import list_images, read_image, read_mask
from pipeline.datasets.sources import IGNORE, Sample, VocConfig

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
        held_out = _names(self.root / LISTS / "val.txt")
        validation = _samples("validation", held_out, {IMAGES: images, MASKS: masks})
        if not self.config.augmented:
            return [*_samples("train", self._without(held_out), {IMAGES: images, MASKS: masks}), *validation]
        more = self._augmented()
        if self.list.is_file():
            train = self._without(held_out)
        else:
            train = {name: str(path) for name, path in more.items() if name not in held_out}
        return [*_samples("train", train, {IMAGES: images, AUGMENTED: more}), *validation]

    def _without(self, held_out: dict[str, str]) -> dict[str, str]:
        """The names of the training list.

        Raises:
            DataError: some of them are held out.
        """
        names = _names(self.list)
        leaks = sorted(names.keys() & held_out.keys())
        if leaks:
            found = f"{len(leaks)} names are in val.txt, too, such as '{leaks[0]}': a leak"
            raise DataError(f"{self.list}: {found}. Remove them from one of the lists.")
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


def _names(path: Path) -> dict[str, str]:
    """The images of a list, one a line (a bare name, or the paths of image and mask) -> where in the list each stands.

    Raises:
        DataError: no such list, or an empty one.
    """
    expected = "expected names of images, one a line. Take the list as it was published, or mend dataset.root."
    if not path.is_file():
        raise DataError(f"{path}: no such file; {expected}")
    names: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        if line.strip():
            names.setdefault(Path(line.split()[0]).stem, f"{path}:{number}")
    if not names:
        raise DataError(f"{path}: holds no name; {expected}")
    return names


def _samples(role: str, names: dict[str, str], folders: dict[str, dict[str, Path]]) -> list[Sample]:
    """The named images, sorted, with their masks; ``folders`` are that of the images and that of the masks.

    Raises:
        DataError: a line for every name without an image or a mask.
    """
    problems = [
        f"{where}: '{name}' is not in {' nor in '.join(lacking)}; expected an image and a mask. Add or remove it."
        for name, where in names.items()
        if (lacking := [folder for folder, files in folders.items() if name not in files])
    ]
    raise_all(problems, DataError)
    images, masks = folders.values()
    return [Sample(name, role, images[name], masks[name]) for name in sorted(names)]
