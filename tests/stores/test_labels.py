"""Label stores: round trip, shards, and counts that match the pixels."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from fewmask.core.errors import ArtefactError
from fewmask.stores.codes import EDGES
from fewmask.stores.images import Images
from fewmask.stores.labels import (
    SHARD_SCHEMA,
    Labelled,
    Labels,
    count_codes,
    merge,
    shard_is_good,
    write_labels,
    write_shard,
)

Store = Callable[..., Path]
Items = Callable[..., list[Labelled]]
STEMS = ["a", "b", "ünï", "d", "e"]


def test_a_store_gives_back_what_was_put_in(label_store: Store, labelled: Items) -> None:
    with Labels(label_store(STEMS)) as store:
        for item, found in zip(labelled(STEMS), store, strict=True):
            assert found.stem == item.stem
            assert (found.label == item.label).all()
            assert (found.code == item.code).all()
            assert (store.label(item.stem) == item.label).all()
        assert store.stems == STEMS
        assert store.class_names == ["sky", "road", "car"]
        assert (store.fingerprint, store.provenance) == ("f" * 64, {"model": "none"})
        assert (store.edges == EDGES).all()


def test_sizes_may_differ(tmp_path: Path) -> None:
    items = [Labelled(f"{h}x{w}", np.zeros((h, w), np.uint8), np.ones((h, w), np.uint8)) for h, w in ((1, 1), (3, 500))]
    write_labels(tmp_path / "x.h5", items, ["a", "b"])
    with Labels(tmp_path / "x.h5") as store:
        assert [item.label.shape for item in store] == [(1, 1), (3, 500)]


def test_a_store_of_no_image_is_a_store(tmp_path: Path) -> None:
    write_labels(tmp_path / "x.h5", [], ["a", "b"])
    with Labels(tmp_path / "x.h5") as store:
        assert store.stems == list(store) == []
        assert store.histogram.shape == (0, 2, 256)


def test_the_schema_is_the_promised_one(label_store: Store) -> None:
    """Names and types of docs/stores.md: users' scripts read them."""
    with h5py.File(label_store(STEMS)) as file:
        assert {name: (file[name].shape, file[name].dtype.str) for name in ("size", "crc32", "histogram")} == {
            "size": ((5, 2), "<u2"),
            "crc32": ((5,), "<u4"),
            "histogram": ((5, 3, 256), "<u4"),
        }
        assert file["confidence_edges"].dtype == np.float32
        assert file["confidence_edges"].shape == (255,)
        for group, fill in (("label", 255), ("confidence", 0)):
            assert list(file[group]) == [f"{number:08d}" for number in range(5)]
            image = file[group]["00000002"]
            assert (image.dtype, image.chunks, image.compression, image.compression_opts) == (
                np.uint8,
                (12, 16),
                "gzip",
                1,
            )
            assert (image.fletcher32, image.fillvalue) == (True, fill)
        expected = {"schema", "schema_version", "complete", "count", "class_names", "ignore_index", "fingerprint"}
        assert expected | {"provenance"} <= set(file.attrs)


def test_the_histogram_counts_pixels_by_label_and_code(label_store: Store) -> None:
    with Labels(label_store(STEMS)) as store:
        for item, histogram in zip(store, store.histogram, strict=True):
            for label in range(3):
                naive = np.bincount(item.code[item.label == label], minlength=256)
                assert (histogram[label] == naive).all()


def test_pixels_without_a_label_do_not_count() -> None:
    """Labels 0 1 / 255 1 with codes 7 9 / 7 9: one pixel (0, 7), two (1, 9), and the void one nowhere."""
    counts = count_codes(np.array([[0, 1], [255, 1]], np.uint8), np.array([[7, 9], [7, 9]], np.uint8), 2)
    assert counts.dtype == np.uint32
    assert (counts.sum(), counts[0, 7], counts[1, 9]) == (3, 1, 2)


@pytest.fixture
def shards(tmp_path: Path, labelled: Items) -> list[Path]:
    """Two shards of the five images: three and two."""
    items, paths = labelled(STEMS), [tmp_path / "s0.h5", tmp_path / "s1.h5"]
    write_shard(paths[0], items[:3], 0, 3)
    write_shard(paths[1], items[3:], 3, 3)
    return paths


def datasets(path: Path) -> dict[str, Any]:
    """Every dataset and attribute of a file, in plain values."""
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        found.update({f"@{name}": value for name, value in file.attrs.items()})
        file.visititems(lambda name, item: found.update({name: item[()].tolist()}) if hasattr(item, "shape") else None)
    return found


def test_merged_shards_are_the_store_written_at_once(tmp_path: Path, label_store: Store, shards: list[Path]) -> None:
    merge(tmp_path / "merged.h5", shards, ["sky", "road", "car"], "f" * 64, {"model": "none"})
    direct = datasets(label_store(STEMS))
    assert datasets(tmp_path / "merged.h5") == direct
    assert len(direct) > 15
    with Labels(tmp_path / "merged.h5") as store:
        assert [item.stem for item in store] == STEMS


def test_the_bytes_repeat(tmp_path: Path, labelled: Items, shards: list[Path]) -> None:
    for name in ("x.h5", "y.h5"):
        merge(tmp_path / name, shards, ["sky", "road", "car"], "f", {})
    assert (tmp_path / "x.h5").read_bytes() == (tmp_path / "y.h5").read_bytes()
    first = shards[0].read_bytes()
    write_shard(shards[0], labelled(STEMS)[:3], 0, 3)
    assert shards[0].read_bytes() == first


def test_a_whole_shard_is_recognised_and_any_other_is_not(shards: list[Path], tmp_path: Path) -> None:
    assert shard_is_good(shards[0], STEMS[:3])
    assert shard_is_good(shards[1], STEMS[3:])
    for wrong in (STEMS[:2], STEMS[:4], STEMS[2::-1], STEMS[3:], []):
        assert not shard_is_good(shards[0], wrong)
    assert not shard_is_good(tmp_path / "none.h5", STEMS)


def test_a_damaged_shard_is_not_good(shards: list[Path]) -> None:
    """It must not hang the run that resumes, either: it is refused before HDF5 sees it."""
    data = shards[0].read_bytes()
    flips = [*range(0, len(data), 61), *range(data.index(b"GCOL"), data.index(b"GCOL") + 64)]
    flipped = [data[:place] + bytes([data[place] ^ 2]) + data[place + 1 :] for place in flips]
    for broken in (data[: len(data) // 2], data[:-1], b"", *flipped):
        shards[0].write_bytes(broken)
        assert not shard_is_good(shards[0], STEMS[:3])


def test_a_shard_is_not_taken_for_a_store_nor_a_store_for_a_shard(shards: list[Path], label_store: Store) -> None:
    with pytest.raises(ArtefactError, match="schema is 'fewmask-labels-shard'"):
        Labels(shards[0])
    with pytest.raises(ArtefactError, match="schema is 'fewmask-labels'"):
        Labels(label_store(STEMS), SHARD_SCHEMA)


def test_what_a_store_was_made_from_is_compared(
    label_store: Store, image_store: Callable[..., Path], tmp_path: Path
) -> None:
    with Images(image_store()) as images:
        stems = images.ids[:3]
        with Labels(label_store(stems)) as store:
            store.require(stems[1:], images, "a split")
            with pytest.raises(ArtefactError, match="lacks 2 of 3 images, such as 'x'"):
                store.require([stems[0], "x", "y"], images, "a split")
            for names in (["sky", "road"], ["road", "sky", "car"]):
                images.class_names = names
                with pytest.raises(ArtefactError, match=r"labels the classes \['sky', 'road', 'car'\]; expected \["):
                    store.require(stems, images, "a split")
        images.class_names = ["sky", "road", "car"]
        provenance = {"images": images.identity, "split": "a split"}
        others = {"images": "made from other images than .*images.h5", "split": "by a network of another split"}
        for key, told in others.items():
            path = tmp_path / f"made_{key}.h5"
            items = [Labelled(stem, np.zeros((12, 16), np.uint8), np.zeros((12, 16), np.uint8)) for stem in stems]
            write_labels(path, items, images.class_names, "", provenance)
            with Labels(path) as store:
                store.require(stems, images, "a split")
            write_labels(path, items, images.class_names, "", {**provenance, key: "another"})
            with Labels(path) as store, pytest.raises(ArtefactError, match=told):
                store.require(stems, images, "a split")


def test_images_are_told_apart_by_their_pixels_and_not_by_their_masks(
    image_store: Callable[..., Path], image_rows: Callable[..., Any]
) -> None:
    rows = image_rows()
    identities = []
    for number, kind in enumerate(("as it is", "mask", "image")):
        name, role, image, mask = rows[0]
        changed = (name, role, image ^ (kind == "image"), mask.clip(0, 1) if kind == "mask" else mask)
        with Images(image_store(f"{number}.h5", [changed, *rows[1:]])) as images:
            identities.append(images.identity)
    assert identities[0] == identities[1] != identities[2]
