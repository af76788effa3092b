"""A damaged or wrong store is never used silently: ArtefactError with the file's name."""

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from fewmask.core.errors import ArtefactError
from fewmask.stores.images import Images
from fewmask.stores.labels import Labels

Content = Callable[[Path], Any]
Store = Callable[[str], tuple[Path, Content]]
Edited = Callable[[Path], AbstractContextManager[h5py.File]]
KINDS = ["images", "labels"]


@pytest.fixture
def store(
    image_store: Callable[..., Path], label_store: Callable[..., Path], images_content: Content, labels_content: Content
) -> Store:
    """``store("labels")`` -> a sound store and what reads it whole."""

    def make(kind: str) -> tuple[Path, Content]:
        if kind == "images":
            return image_store(train=2, bare=1), images_content
        return label_store(["a", "b", "c"]), labels_content

    return make


def refused(path: Path, content: Content) -> str:
    """What reading the store is answered with."""
    with pytest.raises(ArtefactError) as caught:
        content(path)
    assert caught.value.code == 4
    assert str(caught.value).startswith(f"{path}")
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_no_flipped_bit_reaches_hdf5(store: Store, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path, content = store(kind)
    data = path.read_bytes()
    monkeypatch.setattr(h5py, "File", lambda *_, **__: pytest.fail("HDF5 was given a damaged file"))
    rng = random.Random(kind)
    texts = data.index(b"GCOL")  # the heap of texts: an object of a wrong size there makes HDF5 loop for ever
    for place in [*rng.sample(range(len(data)), 300), *range(80), *range(texts, texts + 64)]:
        broken = bytearray(data)
        broken[place] ^= 1 << rng.randrange(8)
        path.write_bytes(broken)
        assert "damaged" in refused(path, content)


@pytest.mark.parametrize("kind", KINDS)
def test_no_truncated_store_is_believed(store: Store, kind: str) -> None:
    path, content = store(kind)
    data = path.read_bytes()
    for length in (0, 10, len(data) // 2, len(data) - 100, len(data) - 1):
        path.write_bytes(data[:length])
        assert "Delete it and run 'dvc repro'" in refused(path, content)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "block", [bytes(512), b"other\n".ljust(512, b"\0"), b"fewmask-sha256 " + b"0" * 64 + b"\n" + bytes(432)]
)
def test_a_user_block_without_the_right_digest_is_refused(store: Store, kind: str, block: bytes) -> None:
    path, content = store(kind)
    data = path.read_bytes()
    assert data[512:520] == b"\x89HDF\r\n\x1a\n"
    path.write_bytes(block + data[512:])
    assert "damaged" in refused(path, content)


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_that_is_not_sealed_is_refused(store: Store, kind: str) -> None:
    path, content = store(kind)
    with h5py.File(path, "r+") as file:
        file["crc32"][0] += 1
    assert "damaged: its content does not match its digest" in refused(path, content)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_made_by_hand_needs_no_digest(store: Store, kind: str) -> None:
    path, content = store(kind)
    original, data = content(path), path.read_bytes()
    path.write_bytes(data[512:])  # HDF5 counts its addresses from its signature
    assert content(path) == original


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_may_not_be_read_is_named(store: Store, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path, content = store(kind)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert "Permission denied" in refused(path, content)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", [b"hello", b"\x89HDF\r\n\x1a\n", b"\0" * 5000])
def test_what_is_no_hdf5_is_refused(store: Store, kind: str, data: bytes) -> None:
    path, content = store(kind)
    path.write_bytes(data)
    assert "damaged or not HDF5" in refused(path, content)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_store_says_how_to_make_it(store: Store, kind: str) -> None:
    path, content = store(kind)
    path.unlink()
    assert "no such file. Run 'dvc repro' to make it" in refused(path, content)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("attribute", "value", "reason"),
    [
        ("schema", "other", "schema is 'other'; expected 'fewmask-"),
        ("schema_version", 4, "schema version is 4; this program reads version "),
        ("schema_version", 0, "schema version is 0"),
        ("complete", 0, "not complete: its writer was stopped"),
        ("complete", None, "not complete"),
        ("schema", None, "schema is None"),
        ("count", 1, ""),
        ("count", None, ""),
        ("class_names", None, ""),
        ("class_names", "{", ""),
    ],
)
def test_a_wrong_header_is_refused_with_its_reason(
    store: Store, edited: Edited, kind: str, attribute: str, value: object, reason: str
) -> None:
    path, content = store(kind)
    with edited(path) as file:
        del file.attrs[attribute]
        if value is not None:
            file.attrs[attribute] = value
    assert reason in refused(path, content)


TABLES = {
    "images": ["id", "role", "has_mask", "crc32", "extent", "tags", "image", "mask"],
    "labels": ["stem", "size", "crc32", "histogram", "confidence_edges", "label", "confidence"],
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in TABLES[kind]])
def test_a_missing_table_is_refused(store: Store, edited: Edited, kind: str, name: str) -> None:
    path, content = store(kind)
    with edited(path) as file:
        del file[name]
    refused(path, content)


@pytest.mark.parametrize(
    ("kind", "name", "shape", "dtype"),
    [
        ("images", "image", (7, 12, 16), np.uint8),
        ("images", "image", (7, 12, 16, 3), np.float32),
        ("images", "mask", (6, 12, 16), np.uint8),
        ("images", "has_mask", (6,), np.uint8),
        ("images", "crc32", (7,), np.uint32),
        ("images", "extent", (3,), np.uint16),
        ("images", "extent", (2, 2), np.uint16),
        ("images", "extent", (3, 2), np.uint16),
        ("images", "tags", (3,), np.uint8),
        ("images", "tags", (3, 2), np.uint8),
        ("images", "tags", (2, 3), np.uint8),
        ("images", "tags", (3, 3), np.float32),
        ("labels", "label/00000001", (12, 15), np.uint8),
        ("labels", "label/00000001", (12, 16), np.uint16),
        ("labels", "confidence/00000001", (12, 16), np.float32),
        ("labels", "confidence/00000001", (), np.uint8),
        ("labels", "confidence_edges", (254,), np.float32),
        ("labels", "histogram", (2, 3, 256), np.uint32),
    ],
)
def test_another_shape_or_type_is_refused(
    store: Store, edited: Edited, kind: str, name: str, shape: tuple[int, ...], dtype: type
) -> None:
    path, content = store(kind)
    with edited(path) as file:
        del file[name]
        file[name] = np.zeros(shape, dtype)
    refused(path, content)


@pytest.mark.parametrize("kind", KINDS)
def test_two_images_that_changed_places_are_refused(store: Store, edited: Edited, kind: str) -> None:
    path, content = store(kind)
    with edited(path) as file:
        if kind == "images":
            file["image"][[0, 1]] = file["image"][[0, 1]][::-1]
        else:
            for group in ("label", "confidence"):
                file[group].move("00000000", "x")
                file[group].move("00000001", "00000000")
                file[group].move("x", "00000001")
    assert "checksum mismatch for " in refused(path, content)


def test_the_message_names_the_image(store: Store, edited: Edited) -> None:
    path, content = store("labels")
    with edited(path) as file:
        file["label/00000001"][3, 3] ^= 1
    assert "image 'b'" in refused(path, content)
    with Labels(path) as labels:
        labels.read("a")
        labels.read("c")


def test_a_damaged_chunk_names_the_image(store: Store, edited: Edited) -> None:
    path, content = store("images")
    with h5py.File(path) as file:
        place = file["image"].id.get_chunk_info(1).byte_offset
    data = bytearray(path.read_bytes())
    data[place + 5] ^= 1
    path.write_bytes(data)
    with edited(path):
        pass
    assert "image 'i001': damaged" in refused(path, content)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("link", ["external", "soft", "virtual", "external data"])
def test_nothing_is_read_from_outside_the_file(
    store: Store, edited: Edited, tmp_path: Path, kind: str, link: str
) -> None:
    path, content = store(kind)
    place = {"images": "mask", "labels": "label/00000001"}[kind]
    secret = tmp_path / "secret.h5"
    with h5py.File(path) as file, h5py.File(secret, "w") as other:
        other["x"] = file[place][:]
    with edited(path) as file:
        shape = file[place].shape
        del file[place]
        if link == "external":
            file[place] = h5py.ExternalLink(str(secret), "/x")
        elif link == "soft":
            file["kept"] = np.zeros(shape, np.uint8)
            file[place] = h5py.SoftLink("/kept")
        elif link == "virtual":
            layout = h5py.VirtualLayout(shape, np.uint8)
            layout[...] = h5py.VirtualSource(str(secret), "x", shape)
            file.create_virtual_dataset(place, layout)
        else:
            file.create_dataset(place, shape, np.uint8, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
    message = refused(path, content)
    assert "is a link out of the file" in message or "takes its data from another file" in message


def test_a_group_that_holds_itself_is_refused(store: Store, edited: Edited) -> None:
    path, content = store("labels")
    with edited(path) as file:
        file["label/loop"] = file["label"]
    refused(path, content)


@pytest.mark.parametrize(("kind", "reader"), [("images", Labels), ("labels", Images)])
def test_one_kind_of_store_is_not_read_as_the_other(store: Store, kind: str, reader: type) -> None:
    assert "expected 'fewmask-" in refused(store(kind)[0], reader)
