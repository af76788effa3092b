"""Image and mask files, read with every doubt spoken: what a file is must be known before hours are spent on it."""

import struct
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from fewmask.core.errors import DataError, raise_all
from fewmask.core.masks import IGNORE
from fewmask.datasets.base.dataset import FilesConfig, PublicConfig, Sample
from fewmask.datasets.base.fitting import Extent, fit_extent, fit_image, fit_mask

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
DEEP = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
DAMAGED = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError, MemoryError, struct.error)
REMEDY = "Fix the mask, or add the class to dataset.classes in params.yaml."
TURNED = {5, 6, 7, 8}  # EXIF orientations that swap width and height
Image.MAX_IMAGE_PIXELS = None  # `_open` checks the header against max_pixels itself, with a message that names the file


def list_images(folder: Path, config: FilesConfig) -> dict[str, Path]:
    """Id (file stem, NFC) -> path of each image file in ``folder``, sorted by id; hidden files are passed over.

    Raises:
        DataError: no such folder, two files with one id, or a file that lies outside the root.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Mend the path (dataset.root in params.yaml, or --images).")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        check_inside(path, config)
        stem = unicodedata.normalize("NFC", path.stem)
        if stem in found:
            raise DataError(f"{path}: has the same name as {found[stem].name}; expected one file an image. Rename one.")
        found[stem] = path
    return dict(sorted(found.items()))


def check_inside(path: Path, config: FilesConfig) -> None:
    """Refuse a path that leads out of the data root through a link or '..'."""
    if not config.allow_symlinks and not path.resolve().is_relative_to(Path(config.root).resolve()):
        remedy = "Copy the file in, or set dataset.allow_symlinks: true."
        raise DataError(f"{path}: leads outside the data root {config.root}. {remedy}")


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


def read_image(path: Path, config: FilesConfig) -> np.ndarray:
    """An RGB image (H, W, 3) uint8 at the working size, turned upright by its EXIF orientation.

    Of an MPO file (a phone's JPEG with a preview or a depth map behind it) it is the first frame.

    Raises:
        DataError: not an image, truncated, animated, too large, or 16-bit.
    """
    image = _load(path, config.max_pixels)
    if image.mode in DEEP:
        image = _scaled(path, image, config)
    with _decoding(path):
        image = ImageOps.exif_transpose(image).convert("RGB")
    return np.asarray(fit_image(image, config))


def read_extent(path: Path, config: FilesConfig) -> Extent:
    """How much of an image at the working size is image, by its header alone: (height, width) at the top left.

    Raises:
        DataError: not an image, or too large.
    """
    (width, height), _ = _upright(path, config.max_pixels)
    return fit_extent((height, width), config)


def read_mask(
    path: Path,
    image: Path,
    config: FilesConfig,
    lookup: np.ndarray,
    colours: np.ndarray | None,
    remedy: str | None = None,
) -> np.ndarray:
    """A mask (H, W) uint8 of class ids at the working size, 255 = ignore.

    Args:
        lookup: (256,) int16, file value -> class id or 255; -1 marks a value that may not occur.
        colours: (C, 3) uint8 for RGB masks, or None.
        remedy: what to do about a value that may not occur, where the data set knows better than what is said of all.

    Raises:
        DataError: lossy, of another size than its image, or with an undeclared value or colour.
    """
    mask = _load(path, config.max_pixels)
    if mask.format in {"JPEG", "MPO", "GIF"}:
        raise DataError(f"{path}: a {mask.format} mask is lossy (class ids are mixed); expected PNG. Export it again.")
    _check_same_size(path, mask, image, config.max_pixels)
    return fit_mask(_ids(path, mask, config, lookup, colours, remedy), config)


def same_size(mask: Path, image: Path, config: FilesConfig) -> bool:
    """Whether two files are of one size, by their headers alone."""
    return _upright(mask, config.max_pixels)[0] == _upright(image, config.max_pixels)[0]


def _load(path: Path, max_pixels: int) -> Image.Image:
    with _opened(path, max_pixels) as image:
        image.load()
    return image


@contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[Image.Image]:
    """An image of which only the header is read, and refused by it if it must not be decoded."""
    with _decoding(path), Image.open(path) as image:
        width, height = image.size
        if width * height > max_pixels:
            size = f"{width}x{height} = {width * height} pixels"
            raise DataError(f"{path}: {size}; expected at most {max_pixels}. Shrink it or raise dataset.max_pixels.")
        if (frames := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":
            raise DataError(f"{path}: holds {frames} frames; expected one image. Export a single frame.")
        yield image


@contextmanager
def _decoding(path: Path) -> Iterator[None]:
    """One sentence with the file for the many errors by which Pillow's decoders say that it is damaged."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: not an image; expected PNG or JPEG. Remove or replace it.") from error
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Put it back or mend dataset.root.") from error
    except DAMAGED as error:
        what = "truncated" if "truncated" in str(error) else f"damaged ({' '.join(str(error).split())[:80]})"
        raise DataError(f"{path}: {what}; expected a whole image. Replace it.") from error


def _scaled(path: Path, image: Image.Image, config: FilesConfig) -> Image.Image:
    if config.image_depth == "refuse":
        remedy = "Convert it, or set dataset.image_depth: scale."
        raise DataError(f"{path}: 16-bit or float pixels; values would be clipped to 8 bits. {remedy}")
    deep = np.asarray(image).astype(np.float64)
    return Image.fromarray((deep / 257).clip(0, 255).round().astype(np.uint8))


def _upright(path: Path, max_pixels: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Width and height of an image, turned upright and as they are stored."""
    with _opened(path, max_pixels) as image:
        turned = image.getexif().get(ExifTags.Base.Orientation) in TURNED
        return image.size[::-1] if turned else image.size, image.size


def _check_same_size(path: Path, mask: Image.Image, image: Path, max_pixels: int) -> None:
    upright, stored = _upright(image, max_pixels)
    if mask.size == upright:
        return
    hint = " The image's EXIF orientation turns it; turn the mask too." if mask.size == stored else ""
    found = f"mask is {mask.size[0]}x{mask.size[1]}, its image {image.name} is {upright[0]}x{upright[1]}"
    raise DataError(f"{path}: {found}; expected one size.{hint or ' Export the mask at the size of the image.'}")


def _ids(
    path: Path,
    mask: Image.Image,
    config: FilesConfig,
    lookup: np.ndarray,
    colours: np.ndarray | None,
    remedy: str | None,
) -> np.ndarray:
    public = isinstance(config, PublicConfig)
    if mask.mode in {"RGB", "RGBA"}:
        if public:
            expected = "expected a grey or palette PNG whose pixel values are the class ids"
            raise DataError(f"{path}: an RGB mask; {expected}. Take the masks that nobody coloured.")
        if colours is None:
            raise DataError(
                f"{path}: an RGB mask needs dataset.colours, one [r, g, b] a class; add them to params.yaml."
            )
        return _from_colours(path, np.asarray(mask.convert("RGB")), colours)
    if mask.mode == "1":
        mask = mask.convert("L").point(lambda value: value // 255)
    if mask.mode not in {"L", "P", *DEEP} - {"F"}:
        raise DataError(f"{path}: mode {mask.mode}; expected an 8-bit grey, palette or RGB mask. Export it again.")
    values = np.asarray(mask)
    if values.max(initial=0) > 255 or values.min(initial=0) < 0:
        found = f"{path}: class id {values.max()}; expected ids up to 255"
        raise DataError(f"{found}. {remedy or 'Export it as 8 bits.'}")
    ids = lookup[values.astype(np.uint8)]
    remedy = remedy or ("Take the file as it was published." if public else REMEDY)
    _refuse_first(path, ids < 0, lambda y, x: f"class id {values[y, x]}", _allowed(lookup), remedy)
    return ids.astype(np.uint8)


def _from_colours(path: Path, rgb: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (H, W) uint8 class ids by exact colour."""
    packed = rgb.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    known = colours.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    order = np.argsort(known, kind="stable")  # a class drawn in black comes before black = ignore
    place = np.searchsorted(known[order], packed).clip(0, len(known) - 1)
    ids = order[place]
    wrong = known[ids] != packed
    _refuse_first(path, wrong, lambda y, x: f"colour {tuple(rgb[y, x].tolist())}", "the colours of dataset.colours")
    return np.where(ids == len(known) - 1, IGNORE, ids).astype(np.uint8)


def _refuse_first(path: Path, wrong: np.ndarray, name: object, expected: str, remedy: str = REMEDY) -> None:
    if not wrong.any():
        return
    row, column = (int(value) for value in np.argwhere(wrong)[0])
    found = name(row, column)  # type: ignore[operator]
    raise DataError(f"{path}: {found} at row {row}, column {column}; expected {expected}. {remedy}")


def _allowed(lookup: np.ndarray) -> str:
    classes = np.flatnonzero((lookup >= 0) & (lookup != IGNORE))
    ignored = np.flatnonzero(lookup == IGNORE)
    return f"{classes.min()}..{classes.max()} or {', '.join(map(str, ignored))} (ignore)"
