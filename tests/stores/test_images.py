"""Image stores give back what was put in."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from fewmask.core.errors import ArtefactError
from fewmask.stores.images import Images, write_images

Store = Callable[..., Path]


def test_a_store_gives_back_what_was_put_in(image_store: Store, image_rows: Callable[..., list[Any]]) -> None:
    rows = image_rows(train=4, bare=2)
    with Images(image_store(rows=rows)) as store:
        assert store.ids == [row[0] for row in rows]
        assert store.roles == [row[1] for row in rows]
        assert store.class_names == ["sky", "road", "car"]
        assert store.colours == [[10, 20, 30], [128, 64, 128], [0, 0, 142]]
        assert store.size == (12, 16)
        assert not store.padded
        assert {store.extent(name) for name in store.ids} == {(12, 16)}
        for (name, _, image, mask), masked in zip(rows, store.has_mask, strict=True):
            assert (store.image(name) == image).all()
            assert masked == (mask is not None)
            assert (store.mask(name) == (255 if mask is None else mask)).all()


def test_images_are_stacked_in_the_order_asked_for(image_store: Store, image_rows: Callable[..., list[Any]]) -> None:
    rows = image_rows()
    with Images(image_store(rows=rows)) as store:
        found = store.stack(["i003", "i001"])
        assert (found == np.stack([rows[3][2], rows[1][2]])).all()
        assert (store.stack(["i003"], "mask")[0] == rows[3][3]).all()
        assert store.stack([]).shape == (0, 12, 16, 3)
        assert store.stack([], "mask").shape == (0, 12, 16)


def test_an_unknown_id_is_named(image_store: Store) -> None:
    with Images(image_store()) as store, pytest.raises(ArtefactError, match="has no image 'i999'"):
        store.image("i999")


def test_the_same_images_make_the_same_bytes(image_store: Store) -> None:
    assert image_store("a.h5").read_bytes() == image_store("b.h5").read_bytes()


def test_the_layout_is_what_training_counts_on(image_store: Store) -> None:
    """One raw chunk an image: a read is one seek, and nothing is inflated."""
    with h5py.File(image_store(train=6)) as file:
        assert file["image"].chunks == (1, 12, 16, 3)
        assert file["image"].compression is None
        assert file["mask"].chunks == (1, 12, 16)
        assert {name: file[name].dtype for name in ("image", "mask", "has_mask", "crc32", "extent", "tags")} == {
            "image": np.uint8,
            "mask": np.uint8,
            "has_mask": np.uint8,
            "crc32": np.uint32,
            "extent": np.uint16,
            "tags": np.uint8,
        }


def test_an_id_that_stands_twice_is_refused(tmp_path: Path, image_rows: Callable[..., list[Any]]) -> None:
    rows = [image_rows()[0]] * 2
    write_images(tmp_path / "x.h5", iter(rows), 2, ["a", "b"], [[0, 0, 0], [1, 1, 1]])
    with pytest.raises(ArtefactError, match="an id stands twice"):
        Images(tmp_path / "x.h5")


def test_what_is_image_and_what_is_padding(image_store: Store, image_rows: Callable[..., list[Any]]) -> None:
    """An extent is told for the image it was given with; without one, all is image."""
    first, second, third = image_rows(train=3, validation=0, test=0)
    with Images(image_store(rows=[first, (*second, (5, 16)), (*third, None)])) as store:
        assert store.padded
        assert [store.extent(name) for name in store.ids] == [(12, 16), (5, 16), (12, 16)]


@pytest.mark.parametrize("extent", [(0, 4), (13, 16), (12, 17)])
def test_an_extent_beyond_the_image_is_refused(
    image_store: Store, image_rows: Callable[..., list[Any]], extent: tuple[int, int]
) -> None:
    first, second = image_rows(train=2, validation=0, test=0)
    path = image_store(rows=[first, (*second, extent)])
    with pytest.raises(ArtefactError, match=r"its extents are not 2 sizes within \(12, 16\)\. Delete it"):
        Images(path)


def test_what_is_said_of_an_image_and_of_which_nothing_is(
    image_store: Store, image_rows: Callable[..., list[Any]]
) -> None:
    """Two images of four have tags, one of them none of the classes."""
    rows = image_rows(train=3, bare=1, validation=0, test=0)
    said = {1: np.array([0, 1, 1], np.uint8), 3: np.zeros(3, np.uint8)}
    with Images(image_store(rows=[(*row, None, said.get(number)) for number, row in enumerate(rows)])) as store:
        assert store.tags.dtype == np.uint8
        assert store.tags.tolist() == [[255] * 3, [0, 1, 1], [255] * 3, [0, 0, 0]]
        assert store.tagged == {"i001", "i003"}
        tagged = store.identity
    with Images(image_store("bare.h5", rows=rows)) as store:
        assert (store.tags == 255).all()
        assert store.tagged == set()
        assert store.identity == tagged


@pytest.mark.parametrize("row", [[0, 1, 2], [0, 1, 255], [254] * 3])
def test_tags_that_are_neither_said_nor_unknown_are_refused(
    image_store: Store, image_rows: Callable[..., list[Any]], row: list[int]
) -> None:
    first, second = image_rows(train=2, validation=0, test=0)
    path = image_store(rows=[first, (*second, None, np.array(row, np.uint8))])
    with pytest.raises(ArtefactError, match=r"its tags are not 2 rows of 3 zeros and ones, or of 255\. Delete it"):
        Images(path)


def test_a_store_of_the_version_without_tags_is_refused(
    image_store: Store, edited: Callable[[Path], AbstractContextManager[h5py.File]]
) -> None:
    path = image_store()
    with edited(path) as file:
        file.attrs["schema_version"] = 2
        del file["tags"]
    with pytest.raises(ArtefactError, match=r"schema version is 2; this program reads version 3\. Delete it and run"):
        Images(path)


def test_a_store_without_images_has_classes_and_a_size(tmp_path: Path) -> None:
    write_images(tmp_path / "x.h5", [], 0, ["a", "b"], [[0, 0, 0], [1, 1, 1]], (12, 16))
    with Images(tmp_path / "x.h5") as store:
        assert (store.ids, store.class_names, store.size) == ([], ["a", "b"], (12, 16))
        assert store.stack(store.ids).shape == (0, 12, 16, 3)
        assert store.stack(store.ids, "mask").shape == (0, 12, 16)
        assert store.tags.shape == (0, 2)
        assert not store.padded
