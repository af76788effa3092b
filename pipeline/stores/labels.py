"""``data/labels/*.h5``: one label and one confidence per pixel of every image that was labelled by a network.

    /stem (N,) str    /size (N, 2) uint16: h, w    /crc32 (N,) uint32    /histogram (N, C, 256) uint32
    /label/<index> (h, w) uint8: class id, 255 = no label      /confidence/<index> (h, w) uint8: code, see codes.py
    /confidence_edges (255,) float32
    attributes: schema, schema_version, complete, count, class_names, ignore_index, fingerprint, provenance

``histogram[n, c, k]`` counts the pixels of image n labelled c with code k. So any threshold's kept share is known
without reading a pixel. Long work writes immutable shards (``write_shard``), published as one file (``merge``).
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np

from fewmask.core.errors import ArtefactError
from fewmask.core.files import published
from fewmask.core.masks import IGNORE
from fewmask.stores.codes import EDGES
from fewmask.stores.hdf5 import add_image, crc, create, expect, open_checked, reading, text_attribute
from fewmask.stores.images import Images

SCHEMA, VERSION = "fewmask-labels", 1
SHARD_SCHEMA = "fewmask-labels-shard"


@dataclass(frozen=True)
class Labelled:
    """One image's result: label (h, w) uint8 and code (h, w) uint8."""

    stem: str
    label: np.ndarray
    code: np.ndarray


def count_codes(label: np.ndarray, code: np.ndarray, classes: int) -> np.ndarray:
    """Pixels per (label, code): (C, 256) uint32; pixels without a label do not count."""
    joint = label.astype(np.uint16) << 8 | code
    return np.bincount(joint.ravel(), minlength=1 << 16).reshape(256, 256)[:classes].astype(np.uint32)


class LabelWriter:
    """Appends images to an open file; ``finish`` writes the tables."""

    def __init__(self, file: h5py.File, classes: int, first: int = 0):
        self.file, self.classes, self.first = file, classes, first
        self.rows: list[tuple[str, tuple[int, int], int, np.ndarray]] = []
        file.create_group("label")
        file.create_group("confidence")

    def add(self, item: Labelled, histogram: np.ndarray | None = None, confidence: h5py.Dataset | None = None) -> None:
        """Append one image; ``histogram`` (C, 256) and a stored ``confidence`` save making these again."""
        name = f"{self.first + len(self.rows):08d}"
        add_image(self.file["label"], name, item.label)
        if confidence is None:
            add_image(self.file["confidence"], name, item.code, fill=0)
        else:
            self.file.copy(confidence, self.file["confidence"], name)
        counts = count_codes(item.label, item.code, self.classes) if histogram is None else histogram
        size = (item.label.shape[0], item.label.shape[1])
        self.rows.append((item.stem, size, crc(item.stem, item.label, item.code), counts))

    def finish(self) -> None:
        write_tables(self.file, self.rows, self.classes)


def write_tables(file: h5py.File, rows: Sequence[tuple[str, tuple[int, int], int, np.ndarray]], classes: int) -> None:
    """The per-image tables of ``rows``: stem, size, CRC and histogram."""
    file.create_dataset("stem", data=[row[0] for row in rows], dtype=h5py.string_dtype(), shape=(len(rows),))
    file.create_dataset("size", data=np.array([row[1] for row in rows], np.uint16).reshape(-1, 2))
    file.create_dataset("crc32", data=np.array([row[2] for row in rows], np.uint32))
    histogram = np.array([row[3] for row in rows], np.uint32).reshape(-1, classes, 256)
    chunks = {"chunks": (1, classes, 256), "compression": "gzip", "compression_opts": 1} if rows else {}
    file.create_dataset("histogram", data=histogram, **chunks)


def write_header(
    file: h5py.File, count: int, class_names: Sequence[str], fingerprint: str, provenance: dict[str, Any]
) -> None:
    """Root attributes and the edge table."""
    file.create_dataset("confidence_edges", data=EDGES)
    file.attrs.update(count=count, ignore_index=IGNORE, fingerprint=fingerprint)
    file.attrs.update(class_names=json.dumps(list(class_names)), provenance=json.dumps(provenance, sort_keys=True))


def write_labels(
    path: Path,
    items: Iterable[Labelled],
    class_names: Sequence[str],
    fingerprint: str = "",
    provenance: dict[str, Any] | None = None,
    classes: int | None = None,
) -> None:
    """Write a whole store at once (``path`` is written in place: give it a temporary name)."""
    with create(path, SCHEMA, VERSION) as file:
        writer = LabelWriter(file, classes or len(class_names))
        for item in items:
            writer.add(item)
        writer.finish()
        write_header(file, len(writer.rows), class_names, fingerprint, provenance or {})


class Labels:
    """Reads a label store; each image is checked against its CRC when it is read."""

    def __init__(self, path: Path, schema: str = SCHEMA):
        self.path = path
        self.file = open_checked(path, schema, VERSION)
        with reading(path):
            self.stems = [str(stem) for stem in self.file["stem"].asstr()[:]]
            self.sizes, self.crc32, self.histogram = (self.file[name][:] for name in ("size", "crc32", "histogram"))
            self.names = sorted(self.file["label"])
            agree = len(self.stems) == len(self.sizes) == len(self.crc32) == len(self.histogram) == len(self.names)
            pairs = self.names == sorted(self.file["confidence"])
        expect(agree and pairs, path, "its tables and images disagree in number")
        self.index = {stem: number for number, stem in enumerate(self.stems)}
        expect(len(self.index) == len(self.stems), path, "an image stands twice")
        if schema == SCHEMA:
            self._read_header()

    def _read_header(self) -> None:
        with reading(self.path):
            self.class_names: list[str] = text_attribute(self.file, "class_names")
            self.provenance: dict[str, Any] = text_attribute(self.file, "provenance")
            self.fingerprint = str(self.file.attrs["fingerprint"])
            self.edges = self.file["confidence_edges"][:]
            count = int(self.file.attrs["count"])
        expect(count == len(self.stems), self.path, f"holds {len(self.stems)} images; its header says {count}")
        expect(
            len(self.edges) == len(EDGES),
            self.path,
            f"has {len(self.edges)} confidence edges; expected {len(EDGES)}",
        )

    def require(self, stems: Sequence[str], images: Images, split: str) -> None:
        """Refuse a store that lacks an image, or is of other images, another class list, size or split (a digest).

        A store whose maker did not write down images or split is taken at its word.

        Raises:
            ArtefactError: with the difference.
        """
        names, size = list(images.class_names), [int(side) for side in images.size]
        missing = [stem for stem in stems if stem not in self.index]
        sizes = {tuple(self.sizes[self.index[stem]].tolist()) for stem in stems if stem in self.index} - {tuple(size)}
        found = ""
        if names != self.class_names:
            found = f"labels the classes {self.class_names}; expected {names}"
        elif missing:
            found = f"lacks {len(missing)} of {len(stems)} images, such as '{missing[0]}'; made from another split?"
        elif sizes:
            found = f"labels images of {[list(other) for other in sorted(sizes)][:3]}; expected {size}"
        elif self.provenance.get("images", images.identity) != images.identity:
            found = f"made from other images than {images.path}, with the same ids"
        elif self.provenance.get("split", split) != split:
            found = "labelled by a network of another split, which may have seen other true masks"
        if found:
            raise ArtefactError(f"{self.path}: {found}. Run 'dvc repro' to make it again.")

    def label(self, stem: str) -> np.ndarray:
        """(h, w) uint8 of class ids, 255 = no label."""
        return self.read(stem).label

    def read(self, stem: str) -> Labelled:
        """Label and code of one image, checked."""
        number = self.index[stem]
        with reading(self.path, stem):
            label, code = (self.file[kind][self.names[number]][:] for kind in ("label", "confidence"))
            shape = tuple(self.sizes[number])
        right = label.shape == code.shape == shape and label.dtype == code.dtype == np.uint8
        expect(right, self.path, f"image '{stem}' has shape {label.shape} {label.dtype}; expected {shape} uint8")
        expect(crc(stem, label, code) == self.crc32[number], self.path, f"checksum mismatch for image '{stem}'")
        return Labelled(stem, label, code)

    def raw_confidence(self, stem: str) -> h5py.Dataset:
        """The stored confidence of one image, to be copied as it is."""
        return self.file["confidence"][self.names[self.index[stem]]]

    def __iter__(self) -> Iterator[Labelled]:
        return (self.read(stem) for stem in self.stems)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.file.close()


def write_shard(path: Path, items: Sequence[Labelled], first: int, classes: int) -> None:
    """Publish one immutable shard: images ``first``... of the plan."""
    with published(path) as aside, create(aside, SHARD_SCHEMA, VERSION) as file:
        writer = LabelWriter(file, classes, first)
        for item in items:
            writer.add(item)
        writer.finish()


def shard_is_good(path: Path, stems: Sequence[str]) -> bool:
    """Whether a shard on disk is whole and holds exactly ``stems``."""
    try:
        with Labels(path, SHARD_SCHEMA) as shard:
            return shard.stems == list(stems) and sum(1 for _ in shard) == len(stems)
    except ArtefactError:
        return False


def merge(
    path: Path,
    shards: Sequence[Path],
    class_names: Sequence[str],
    fingerprint: str,
    provenance: dict[str, Any],
) -> None:
    """Copy shards, in order, into one store at ``path``; compressed chunks are copied as they are."""
    with create(path, SCHEMA, VERSION) as file:
        groups = [file.create_group(kind) for kind in ("label", "confidence")]
        rows = []
        for name in shards:
            with Labels(name, SHARD_SCHEMA) as shard:
                for group in groups:
                    for image in shard.names:
                        shard.file.copy(f"{group.name}/{image}", group)
                sizes = [(int(height), int(width)) for height, width in shard.sizes]
                rows += list(zip(shard.stems, sizes, shard.crc32.tolist(), shard.histogram, strict=True))
        write_tables(file, rows, len(class_names))
        write_header(file, len(rows), class_names, fingerprint, provenance)
