"""``data/images.h5``, ``data/source.h5``: every image decoded once, at the working size; its mask where there is one.

/id (N,) str    /role (N,) str    /has_mask (N,) uint8    /crc32 (N, 2) uint32: image, mask
/extent (N, 2) uint16: height, width of what is image, at the top left; the rest, if any, is padding
/tags (N, C) uint8: 1 for each class that the image is said to show, else 0; a row of 255 where nobody said
/image (N, H, W, 3) uint8, raw, one chunk an image       /mask (N, H, W) uint8 of class ids, 255 = ignore
attributes: schema, schema_version, complete, count, class_names (JSON), colours (JSON), ignore_index
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import numpy as np

from fewmask.core.errors import ArtefactError, DataError
from fewmask.core.masks import IGNORE
from fewmask.stores.hdf5 import crc, create, expect, open_checked, reading, text_attribute

SCHEMA, VERSION = "fewmask-images", 3
UNKNOWN = 255  # of tags
BACKGROUND = "background"  # the class of this name, if there is one, is in every image: tagged always, dropped never
Row = (  # id, role, image, mask; where there is padding, the extent; where it has any, the tags
    tuple[str, str, np.ndarray, np.ndarray | None]
    | tuple[str, str, np.ndarray, np.ndarray | None, tuple[int, int] | None]
    | tuple[str, str, np.ndarray, np.ndarray | None, tuple[int, int] | None, np.ndarray | None]
)
TABLES = ("id", "role", "has_mask", "crc32", "extent", "tags", "image", "mask")  # one row an image


class ImageWriter:
    """Fills a new store; the number of images and their one size are known beforehand."""

    def __init__(self, file: h5py.File, count: int, size: tuple[int, int]):
        self.file = file
        height, width = size
        images = {"chunks": (1, height, width, 3) if count else True, "fletcher32": True}
        file.create_dataset("image", (count, height, width, 3), np.uint8, **images)
        masks = {
            "chunks": (1, height, width) if count else True,
            "fletcher32": True,
            "compression": "gzip",
            "compression_opts": 1,
        }
        file.create_dataset("mask", (count, height, width), np.uint8, fillvalue=IGNORE, **masks)
        self.rows: list[tuple[str, str, bool, tuple[int, ...], np.ndarray | None, int, int]] = []

    def add(
        self,
        name: str,
        role: str,
        image: np.ndarray,
        mask: np.ndarray | None,
        extent: tuple[int, int] | None = None,
        tags: np.ndarray | None = None,
    ) -> None:
        """Append one image (H, W, 3) uint8, its mask (H, W) uint8 or None and its tags (C,) uint8 of 0 and 1 or None.

        No extent: nothing is padding.
        """
        index = len(self.rows)
        written = np.full(image.shape[:2], IGNORE, np.uint8) if mask is None else mask
        self.file["image"][index] = image
        self.file["mask"][index] = written
        sums = crc(name, image), crc(name, written)
        self.rows.append((name, role, mask is not None, extent or image.shape[:2], tags, *sums))

    def finish(self, class_names: Sequence[str], colours: Sequence[Sequence[int]]) -> None:
        names, roles, masked, extents, tags, *sums = zip(*self.rows, strict=True) if self.rows else [()] * 7
        unknown = np.full(len(class_names), UNKNOWN, np.uint8)
        known = [unknown if row is None else row for row in tags]
        text = h5py.string_dtype()
        self.file.create_dataset("id", data=list(names), dtype=text)
        self.file.create_dataset("role", data=list(roles), dtype=text)
        self.file.create_dataset("has_mask", data=np.array(masked, np.uint8))
        self.file.create_dataset("extent", data=np.array(extents, np.uint16).reshape(-1, 2))
        self.file.create_dataset("tags", data=np.array(known, np.uint8).reshape(-1, len(class_names)))
        self.file.create_dataset("crc32", data=np.array(sums, np.uint32).T)
        attributes = {"class_names": list(class_names), "colours": [list(colour) for colour in colours]}
        self.file.attrs.update({key: json.dumps(value) for key, value in attributes.items()})
        self.file.attrs.update(count=len(self.rows), ignore_index=IGNORE)


class Images:
    """Reads an image store; each image is checked against its CRC when it is read."""

    def __init__(self, path: Path):
        self.path = path
        self.file = open_checked(path, SCHEMA, VERSION)
        with reading(path):
            self.ids, self.roles = ([str(text) for text in self.file[name].asstr()[:]] for name in ("id", "role"))
            self.has_mask, self.crc32 = self.file["has_mask"][:].astype(bool), self.file["crc32"][:]
            self.extents: np.ndarray = self.file["extent"][:]
            self.tags: np.ndarray = self.file["tags"][:]
            self.class_names: list[str] = text_attribute(self.file, "class_names")
            self.colours: list[list[int]] = text_attribute(self.file, "colours")
            self.size: tuple[int, int] = self.file["image"].shape[1:3]
            shapes = {self.file[name].shape[0] for name in TABLES}
            inside = bool(((self.extents >= 1) & (self.extents <= np.array(self.size))).all())
            count, classes = int(self.file.attrs["count"]), len(self.class_names)
        expect(shapes == {count}, path, f"its datasets hold {sorted(shapes)} images; its header says {count}")
        expect(self.crc32.shape == (count, 2), path, f"its crc32 has the shape {self.crc32.shape}")
        right = self.extents.shape == (count, 2) and self.extents.dtype == np.uint16
        expect(right and inside, path, f"its extents are not {count} sizes within {self.size}")
        known = self.tags.dtype == np.uint8 and self.tags.shape == (count, classes) and _are_tags(self.tags)
        expect(known, path, f"its tags are not {count} rows of {classes} zeros and ones, or of {UNKNOWN}")
        self.index = {name: number for number, name in enumerate(self.ids)}
        expect(len(self.index) == count, path, "an id stands twice")
        self.tagged = {name for name, row in zip(self.ids, self.tags, strict=True) if (row != UNKNOWN).all()}

    @property
    def identity(self) -> str:
        """SHA-256 of the ids, checksums and extents of all images, whatever their masks and tags."""
        pixels = self.crc32[:, 0].astype("<u4").tobytes() + self.extents.astype("<u2").tobytes()
        return hashlib.sha256("\n".join(self.ids).encode() + pixels).hexdigest()

    def holds(self, name: str, image: np.ndarray) -> bool:
        """Whether it has this image (H, W, 3) uint8 under this id."""
        return name in self.index and int(self.crc32[self.index[name], 0]) == crc(name, image)

    def extent(self, name: str) -> tuple[int, int]:
        """Height and width of what is image, at the top left; the rest is padding."""
        height, width = self.extents[self.index[name]].tolist()
        return height, width

    @property
    def padded(self) -> bool:
        """Whether any image has padding."""
        return bool((self.extents < np.array(self.size)).any())

    def image(self, name: str) -> np.ndarray:
        """(H, W, 3) uint8."""
        return self._read("image", name, 0)

    def mask(self, name: str) -> np.ndarray:
        """(H, W) uint8 of class ids, 255 = ignore; all 255 where the data set has no mask."""
        return self._read("mask", name, 1)

    def stack(self, names: Iterable[str], kind: str = "image") -> np.ndarray:
        """Several images (n, H, W, 3) or masks (n, H, W), uint8."""
        read = self.image if kind == "image" else self.mask
        arrays = [read(name) for name in names]
        return np.stack(arrays) if arrays else np.zeros((0, *self.file[kind].shape[1:]), np.uint8)

    def _read(self, kind: str, name: str, column: int) -> np.ndarray:
        if name not in self.index:
            raise ArtefactError(f"{self.path}: has no image '{name}'; expected every id of the split. Run 'dvc repro'.")
        number = self.index[name]
        with reading(self.path, name):
            data: np.ndarray = self.file[kind][number]
        expect(crc(name, data) == self.crc32[number, column], self.path, f"checksum mismatch for {kind} '{name}'")
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.file.close()


def _are_tags(tags: np.ndarray) -> bool:
    """Whether each row (N, C) holds nothing but 0 and 1, or nothing but 255."""
    return bool(((tags <= 1).all(1) | (tags == UNKNOWN).all(1)).all())


def write_images(
    path: Path,
    rows: Iterable[Row],
    count: int,
    class_names: Sequence[str],
    colours: Sequence[Sequence[int]],
    size: tuple[int, int] | None = None,
) -> None:
    """Write ``rows`` into a new file at ``path``, in their order; only where there are none is ``size`` needed."""
    with create(path, SCHEMA, VERSION) as file:
        writer = ImageWriter(file, 0, size) if size and not count else None
        for row in rows:
            image = row[2]
            writer = writer or ImageWriter(file, count, (image.shape[0], image.shape[1]))
            writer.add(*row)
        assert writer is not None and len(writer.rows) == count
        writer.finish(class_names, colours)


def require_same_classes(source: Sequence[str], target: Sequence[str]) -> None:
    """Refuse a source domain whose class list is not the target's.

    Raises:
        DataError: with the classes that only one of the two has, or the first that stands elsewhere.
    """
    lists = {"source": (source, target), "target": (target, source)}
    alone = {title: [name for name in names if name not in others] for title, (names, others) in lists.items()}
    found = [f"only in the {title}: {', '.join(names)}" for title, names in alone.items() if names]
    moved = [pair for pair in zip(source, target, strict=False) if pair[0] != pair[1]]
    if moved and not found:
        found = [f"another order: where the target has {moved[0][1]}, the source has {moved[0][0]}"]
    if found:
        remedy = "Choose a dataset.source with the classes of dataset, or give both one list, then run 'dvc repro'."
        raise DataError(f"dataset.source: {'; '.join(found)}; expected the same classes in the same order. {remedy}")
