"""Image and mask files, read with every doubt spoken: what a file is must be known before hours are spent on it."""

import struct
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from fewmask.core.errors import DataError, raise_all
from fewmask.datasets.base.classes import from_colours, from_values
from fewmask.datasets.base.dataset import FilesConfig, PublicConfig, Sample
from fewmask.datasets.base.fitting import Extent, fit_extent, fit_image, fit_mask
from fewmask.datasets.base.lists import Names, read_names

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
DEEP = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
DAMAGED = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError, MemoryError, struct.error)
TURNED = {5, 6, 7, 8}  # EXIF orientations that swap width and height
Image.MAX_IMAGE_PIXELS = (
    None  # `_opened` checks the header against max_pixels itself, with a message that names the file
)


class ImageFiles:
    """The files of a data set, read as its section of params says; ``key`` is that section's, for the remedies."""

    def __init__(self, config: FilesConfig, key: str = "dataset"):
        self.config, self.key = config, key

    def images_in(self, folder: Path) -> dict[str, Path]:
        """Id (file stem, NFC) -> path of each image file in ``folder``, sorted by id; hidden files are passed over.

        Raises:
            DataError: no such folder, two files with one id, or a file that lies outside the root.
        """
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder. Fix the path ({self.key}.root in params.yaml, or --images).")
        found: dict[str, Path] = {}
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
                continue
            self.require_inside(path)
            stem = unicodedata.normalize("NFC", path.stem)
            if stem in found:
                other = found[stem].name
                raise DataError(f"{path}: has the same name as {other}; expected one file an image. Rename one.")
            found[stem] = path
        return dict(sorted(found.items()))

    def names_in(self, path: Path) -> Names:
        """The images of a list, one a line; see ``read_names``."""
        return read_names(path, f"{self.key}.root")

    def require_inside(self, path: Path) -> None:
        """Refuse a path that leads out of the data root through a link or '..'.

        Raises:
            DataError: with the root.
        """
        root = self.config.root
        if not self.config.allow_symlinks and not path.resolve().is_relative_to(Path(root).resolve()):
            remedy = f"Copy the file in, or set {self.key}.allow_symlinks: true."
            raise DataError(f"{path}: leads outside the data root {root}. {remedy}")

    def read(self, sample: Sample, lookup: np.ndarray, remedy: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The image and mask of a sample that has both; arguments and errors as ``read_mask``."""
        assert sample.image and sample.mask
        return self.read_image(sample.image), self.read_mask(sample.mask, sample.image, lookup, remedy=remedy)

    def read_image(self, path: Path) -> np.ndarray:
        """An RGB image (H, W, 3) uint8 at the working size, turned upright by its EXIF orientation.

        Of an MPO file (a phone's JPEG with a preview or a depth map behind it) it is the first frame.

        Raises:
            DataError: not an image, truncated, animated, too large, or 16-bit.
        """
        image = self._load(path)
        if image.mode in DEEP:
            image = self._scaled(path, image)
        with self._decoding(path):
            image = ImageOps.exif_transpose(image).convert("RGB")
        return np.asarray(fit_image(image, self.config))

    def read_extent(self, path: Path) -> Extent:
        """How much of an image at the working size is image, by its header alone: (height, width) at the top left.

        Raises:
            DataError: not an image, or too large.
        """
        (width, height), _ = self._sizes(path)
        return fit_extent((height, width), self.config)

    def read_mask(
        self,
        path: Path,
        image: Path,
        lookup: np.ndarray,
        colours: np.ndarray | None = None,
        remedy: str | None = None,
    ) -> np.ndarray:
        """A mask (H, W) uint8 of class ids at the working size, 255 = ignore.

        Args:
            lookup: (256,) int16, file value -> class id or 255; -1 marks a value that may not occur.
            colours: (C + 1, 3) uint8 for RGB masks, the last one void; or None.
            remedy: what to do about a value that may not occur, where the data set knows better than what all say.

        Raises:
            DataError: lossy, of another size than its image, or with an undeclared value or colour.
        """
        mask = self._load(path)
        if mask.format in {"JPEG", "MPO", "GIF"}:
            raise DataError(
                f"{path}: a {mask.format} mask is lossy (class ids are mixed); expected PNG. Export it again."
            )
        self._require_same_size(path, mask, image)
        return fit_mask(self._ids(path, mask, lookup, colours, remedy), self.config)

    def same_size(self, mask: Path, image: Path) -> bool:
        """Whether two files are of one size, by their headers alone."""
        return self._sizes(mask)[0] == self._sizes(image)[0]

    def _load(self, path: Path) -> Image.Image:
        with self._opened(path) as image:
            image.load()
        return image

    @contextmanager
    def _opened(self, path: Path) -> Iterator[Image.Image]:
        """An image of which only the header is read, and refused by it if it must not be decoded."""
        most = self.config.max_pixels
        with self._decoding(path), Image.open(path) as image:
            width, height = image.size
            if width * height > most:
                found = f"{width}x{height} = {width * height} pixels; expected at most {most}"
                raise DataError(f"{path}: {found}. Shrink it or raise {self.key}.max_pixels.")
            if (frames := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":
                raise DataError(f"{path}: holds {frames} frames; expected one image. Export a single frame.")
            yield image

    @contextmanager
    def _decoding(self, path: Path) -> Iterator[None]:
        """One sentence with the file for the many errors by which Pillow's decoders say that it is damaged."""
        try:
            yield
        except UnidentifiedImageError as error:
            raise DataError(f"{path}: not an image; expected PNG or JPEG. Remove or replace it.") from error
        except FileNotFoundError as error:
            raise DataError(f"{path}: no such file. Put it back or fix {self.key}.root.") from error
        except DAMAGED as error:
            what = "truncated" if "truncated" in str(error) else f"damaged ({' '.join(str(error).split())[:80]})"
            raise DataError(f"{path}: {what}; expected a whole image. Replace it.") from error

    def _scaled(self, path: Path, image: Image.Image) -> Image.Image:
        if self.config.image_depth == "refuse":
            remedy = f"Convert it, or set {self.key}.image_depth: scale."
            raise DataError(f"{path}: 16-bit or float pixels; values would be clipped to 8 bits. {remedy}")
        deep = np.asarray(image).astype(np.float64)
        return Image.fromarray((deep / 257).clip(0, 255).round().astype(np.uint8))

    def _sizes(self, path: Path) -> tuple[tuple[int, int], tuple[int, int]]:
        """Width and height of an image, turned upright and as they are stored."""
        with self._opened(path) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation) in TURNED
            return image.size[::-1] if turned else image.size, image.size

    def _require_same_size(self, path: Path, mask: Image.Image, image: Path) -> None:
        upright, stored = self._sizes(image)
        if mask.size == upright:
            return
        hint = " The image's EXIF orientation turns it; turn the mask too." if mask.size == stored else ""
        found = f"mask is {mask.size[0]}x{mask.size[1]}, its image {image.name} is {upright[0]}x{upright[1]}"
        raise DataError(f"{path}: {found}; expected one size.{hint or ' Export the mask at the size of the image.'}")

    def _ids(
        self, path: Path, mask: Image.Image, lookup: np.ndarray, colours: np.ndarray | None, remedy: str | None
    ) -> np.ndarray:
        if mask.mode in {"RGB", "RGBA"}:
            return self._ids_of_colours(path, mask, colours)
        if mask.mode == "1":
            mask = mask.convert("L").point(lambda value: value // 255)
        if mask.mode not in {"L", "P", *DEEP} - {"F"}:
            raise DataError(f"{path}: mode {mask.mode}; expected an 8-bit grey, palette or RGB mask. Export it again.")
        values = np.asarray(mask)
        if values.max(initial=0) > 255 or values.min(initial=0) < 0:
            found = f"{path}: class id {values.max()}; expected ids up to 255"
            raise DataError(f"{found}. {remedy or 'Export it as 8 bits.'}")
        return from_values(path, values, lookup, remedy or self._remedy())

    def _ids_of_colours(self, path: Path, mask: Image.Image, colours: np.ndarray | None) -> np.ndarray:
        if isinstance(self.config, PublicConfig):
            expected = "expected a grey or palette PNG whose pixel values are the class ids"
            raise DataError(f"{path}: an RGB mask; {expected}. Take the masks that nobody coloured.")
        key = f"{self.key}.colours"
        if colours is None:
            raise DataError(f"{path}: an RGB mask needs {key}, one [r, g, b] a class; add them to params.yaml.")
        return from_colours(path, np.asarray(mask.convert("RGB")), colours, key, self._remedy())

    def _remedy(self) -> str:
        """What to do about an unknown class, where the data set does not know better."""
        if isinstance(self.config, PublicConfig):
            return "Take the file as it was published."
        return f"Fix the mask, or add the class to {self.key}.classes in params.yaml."


def refuse_leaks(samples: list[Sample]) -> None:
    """Refuse two images of one id: a split could not tell them apart, and one may be held out.

    Raises:
        DataError: every second one.
    """
    seen: dict[str, Path | None] = {}
    twice = []
    for sample in samples:
        if sample.id in seen:
            twice.append(f"{sample.image}: also stands as {seen[sample.id]}: a leak. Remove or rename one.")
        seen[sample.id] = sample.image
    raise_all(twice, DataError)
