"""Cityscapes, 19 classes, as www.cityscapes-dataset.com gives it after registration (research use only)."""

from pathlib import Path

import numpy as np

from fewmask.core.errors import DataError
from fewmask.core.masks import IGNORE
from fewmask.datasets.base.dataset import CityscapesConfig, Sample
from fewmask.datasets.base.imagefiles import check_inside, read_image, read_mask, refuse_leaks

TABLE = {  # name: id in the files, colour
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}
IDS = 34  # 0..33; a licence plate is -1, which is 255 in 8 bits
ROLES = {"train": "train", "validation": "val"}
IMAGES, MASKS = "leftImg8bit", "gtFine"
IMAGE, MASK = "_leftImg8bit.png", "_gtFine_labelIds.png"


class Cityscapes:
    """Masks are grey PNGs of label ids. The masks of ``test`` are dummies: split lets validation play test."""

    classes: tuple[str, ...] = tuple(TABLE)
    colours: tuple[tuple[int, int, int], ...] = tuple(colour for _, colour in TABLE.values())

    def __init__(self, config: CityscapesConfig):
        self.config = config
        self.root = Path(config.root)
        self.lookup = np.full(256, -1, np.int16)
        self.lookup[[*range(IDS), IGNORE]] = IGNORE
        self.lookup[[number for number, _ in TABLE.values()]] = np.arange(len(TABLE))

    def samples(self) -> list[Sample]:
        wanted = [f"{kind}/{name}" for kind in (IMAGES, MASKS) for name in ROLES.values()]
        missing = [name for name in wanted if not (self.root / name).is_dir()]
        if missing:
            found = f"{self.root}: holds no {', '.join(missing)}; expected {', '.join(wanted)}"
            remedy = "Unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip there, or mend dataset.root."
            raise DataError(f"{found}. {remedy}")
        found_samples = [sample for role, name in ROLES.items() for sample in self._samples(role, name)]
        refuse_leaks(found_samples)
        return found_samples

    def _samples(self, role: str, name: str) -> list[Sample]:
        folders = self.root / IMAGES / name, self.root / MASKS / name
        images, masks = self._files(folders[0], IMAGE), self._files(folders[1], MASK)
        odd = sorted(images.keys() ^ masks.keys())
        if odd or not images:
            found = f"{len(odd)} names in only one of the two, such as '{odd[0]}'" if odd else "no image in either"
            expected = f"expected for each {folders[0]}/CITY/NAME{IMAGE} a {folders[1]}/CITY/NAME{MASK}"
            raise DataError(f"{folders[0]} and {folders[1]}: {found}; {expected}. Unpack both archives again.")
        return [Sample(key, role, images[key], masks[key]) for key in sorted(images)]

    def _files(self, folder: Path, ending: str) -> dict[str, Path]:
        """City, sequence and frame (the beginning of the file's name) -> path, of all cities."""
        found: dict[str, Path] = {}
        for path in sorted(folder.glob(f"*/[!.]*{ending}")):
            check_inside(path, self.config)
            key = path.name.removesuffix(ending)
            if key in found:
                raise DataError(f"{path}: has the same name as {found[key]}; expected it in one city. Remove one.")
            found[key] = path
        return found

    def read(self, sample: Sample) -> tuple[np.ndarray, np.ndarray | None]:
        assert sample.image and sample.mask
        image = read_image(sample.image, self.config)
        return image, read_mask(sample.mask, sample.image, self.config, self.lookup, None)
