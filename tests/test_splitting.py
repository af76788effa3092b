"""Splits: nested, disjoint, covering, and never a use of the evaluated images."""

import itertools
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewmask.core.errors import ArtefactError, DataError
from fewmask.splitting import Split, SplitConfig, covering_order, make_split
from fewmask.stores.images import Images

Store = Callable[..., Path]


def split(store: Path, labelled: object = 0.5, seed: int = 0, **config: Any) -> Split:
    with Images(store) as images:
        return make_split(images, SplitConfig(labelled=labelled, **config), seed)


def everything(found: Split) -> list[str]:
    return [*found.labelled, *found.unlabelled, *found.validation, *found.test]


def test_parts_are_disjoint_and_whole(image_store: Store) -> None:
    found = split(image_store(train=9, bare=4, validation=3, test=2), 3)
    assert sorted(everything(found)) == [f"i{number:03d}" for number in range(18)]
    assert [len(part) for part in (found.labelled, found.unlabelled, found.validation, found.test)] == [3, 10, 3, 2]
    assert found.evaluated == "test"


@pytest.mark.parametrize("seed", range(4))
def test_a_larger_share_contains_a_smaller_one(image_store: Store, seed: int) -> None:
    store = image_store(train=24, bare=3)
    shares = [set(split(store, share, seed, cover=2).labelled) for share in (0.1, 0.15, 0.25, 0.5, 1.0)]
    assert all(small < large for small, large in itertools.pairwise(shares))
    assert set(split(store, 6, seed, cover=2).labelled) == shares[2]


def test_the_seed_decides_and_nothing_else(image_store: Store) -> None:
    store = image_store(train=24)
    assert split(store, 8, 5) == split(store, 8, 5)
    assert split(store, 8, 5).labelled != split(store, 8, 6).labelled


def test_held_out_parts_do_not_depend_on_the_share(image_store: Store) -> None:
    store = image_store(train=30, validation=0, test=0)
    found = [split(store, share) for share in (0.1, 0.9)]
    assert found[0].test == found[1].test
    assert found[0].validation == found[1].validation


@pytest.mark.parametrize(
    ("share", "total", "count"),
    [
        (0.5, 5, 3),
        (0.125, 200, 25),
        (0.07, 100, 7),
        (0.14, 50, 7),
        (0.55, 100, 55),
        (1.0, 7, 7),
        (1, 7, 1),
        (0.001, 9, 1),
    ],
)
def test_a_share_is_rounded_up_and_a_whole_number_is_a_count(
    image_store: Store, share: float, total: int, count: int
) -> None:
    """0.07 * 100 is 7.000000000000001 in binary, and still 7 images."""
    assert len(split(image_store(train=total, size=(2, 2)), share).labelled) == count


@pytest.mark.parametrize(
    ("counts", "sizes", "evaluated"),
    [
        ({"validation": 3, "test": 2}, (3, 2), "test"),
        ({"validation": 0, "test": 2}, (2, 2), "test"),
        ({"validation": 3, "test": 0}, (2, 3), "validation"),
        ({"validation": 0, "test": 0}, (2, 4), "a part of train"),
    ],
)
def test_missing_roles_are_cut_out_of_train_or_stand_in(
    image_store: Store, counts: dict[str, int], sizes: tuple[int, int], evaluated: str
) -> None:
    """20 masked training images: a test of 0.2 is 4, a validation of 0.1 is 2 (of 20 or 16, rounded up)."""
    found = split(image_store(train=20, bare=5, **counts), 2)
    assert (len(found.validation), len(found.test)) == sizes
    assert found.evaluated == evaluated
    everyone = everything(found)
    assert len(everyone) == len(set(everyone)) == 25 + sum(counts.values())


def test_cut_out_images_have_masks(image_store: Store) -> None:
    found = split(image_store(train=6, bare=20, validation=0, test=0), 1)
    assert {*found.validation, *found.test} < {f"i{number:03d}" for number in range(6)}


def rows(*masks: list[int], role: str = "train") -> list[Any]:
    """An image store's rows with these classes in their masks."""
    image = np.zeros((2, 4, 3), np.uint8)
    made = []
    for number, classes in enumerate(masks):
        mask = np.full(8, 255, np.uint8)
        mask[: len(classes)] = classes
        made.append((f"{role[:2]}{number:02d}", role, image, mask.reshape(2, 4)))
    return made


HELD_OUT = [*rows([0, 1, 2], role="validation"), *rows([0, 1, 2], role="test")]  # va00, te00


@pytest.mark.parametrize("seed", range(10))
def test_rare_classes_are_covered_whatever_the_seed(image_store: Store, seed: int) -> None:
    """Class 2 is in 2 of 40 images, class 1 in 5: four images cover each class twice."""
    masks = [[0]] * 33 + [[0, 1]] * 5 + [[0, 2]] * 2
    store = image_store(rows=[*rows(*masks), *HELD_OUT])
    found = split(store, 4, seed, cover=2)
    counts = [sum(label in masks[int(name[2:])] for name in found.labelled) for label in range(3)]
    assert counts == [4, 2, 2]
    assert found.warnings == []


def test_what_cannot_be_covered_is_named(image_store: Store) -> None:
    store = image_store(rows=[*rows([0], [0, 1], [0, 1], [0]), *HELD_OUT])
    assert split(store, 2, cover=2).warnings == [
        "class 'car' is in 0 labelled images; wanted 2 (255 is void, not a class)"
    ]
    assert split(store, 1, cover=1).warnings == [
        "class 'car' is in 0 labelled images; wanted 1 (255 is void, not a class)"
    ]


def test_labelled_images_without_a_labelled_pixel_are_named(image_store: Store) -> None:
    store = image_store(rows=[*rows([0, 1, 2], [], []), *HELD_OUT])
    (warning,) = split(store, 3).warnings
    assert warning.startswith("2 labelled images have no labelled pixel, such as 'tr0")


def test_the_covering_order_is_a_permutation_that_begins_with_the_rarest() -> None:
    """Stock: class 0 in 4, 1 in 2, 2 in 1. Rarest first: d (2), then a class 1 not yet seen: b; 0 is seen by now."""
    presence = {"a": [0], "b": [0, 1], "c": [0, 1, 255], "d": [0, 2]}
    arrays = {name: np.array(ids) for name, ids in presence.items()}
    assert covering_order(list("abcd"), arrays, 3, 1) == ["d", "b", "a", "c"]
    assert covering_order(list("abcd"), arrays, 3, 0) == list("abcd")
    assert covering_order(list("abcd"), arrays, 3, 2) == ["d", "b", "c", "a"]


@pytest.mark.parametrize("labelled", [0, 21, 0.0])
def test_a_count_that_cannot_be_is_refused(image_store: Store, labelled: float) -> None:
    with pytest.raises(DataError, match=r"split\.labelled: .* expected 1\.\.20, those with masks"):
        split(image_store(train=20), labelled)


def test_something_to_learn_from_is_needed(image_store: Store) -> None:
    with pytest.raises(DataError, match="0 training images with masks and 2 to test on; expected some of both"):
        split(image_store(train=0, bare=5), 1)


@pytest.fixture
def listed(image_store: Store, tmp_path: Path) -> Callable[[bytes], Split]:
    """``listed(b"i001\\n")`` -> the split by this file of ids."""

    def run(content: bytes) -> Split:
        path = tmp_path / "ids.txt"
        path.write_bytes(content)
        return split(image_store(train=6, bare=1), str(path))

    return run


@pytest.mark.parametrize(
    "content",
    [b"i004\ni001\n", b"\xef\xbb\xbfi004\r\n\r\ni001", b"\n  i001  \n\t\ni004\t\n\n", b"i001\ri004\r"],
    ids=["plain", "BOM and CRLF", "blanks", "CR"],
)
def test_a_file_of_ids_is_read_as_people_save_it(listed: Callable[[bytes], Split], content: bytes) -> None:
    found = listed(content)
    assert found.labelled == ["i001", "i004"]
    assert len(found.unlabelled) == 5


def test_a_file_of_ids_in_another_unicode_form_finds_its_image(image_store: Store, tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    store = image_store(rows=[*[(composed, *row[1:]) for row in rows([0, 1, 2])], *HELD_OUT])
    (tmp_path / "ids.txt").write_text(apart + "\n", encoding="utf-8")
    assert split(store, str(tmp_path / "ids.txt")).labelled == [composed]


def test_every_bad_line_is_named_with_file_and_line(listed: Callable[[bytes], Split], tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        listed(b"i001\nnone\n\ni006\ni002\ni001\n")
    lines = str(caught.value).splitlines()
    path = tmp_path / "ids.txt"
    assert len(lines) == 3
    assert lines[0].startswith(f"{path}:2: 'none' is no training image with a mask; expected such as 'i00")
    assert lines[1].startswith(f"{path}:4: 'i006' is no training image with a mask")
    assert lines[2] == f"{path}:6: 'i001' stands in line 1 already; remove one."


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "holds no id"), (b" \n\n", "holds no id"), (b"\xff\xfei", "UTF-8")]
)
def test_an_unusable_file_of_ids_is_named(listed: Callable[[bytes], Split], content: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=rf"ids\.txt: .*{reason}"):
        listed(content)


def test_a_missing_file_of_ids_is_named(image_store: Store) -> None:
    with pytest.raises(DataError, match=r"none\.txt: no such file; expected the ids"):
        split(image_store(), "none.txt")


def test_evaluated_images_are_never_labelled_by_a_list(image_store: Store, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("i007\n")
    with pytest.raises(DataError, match="'i007' is no training image"):
        split(image_store(train=6, validation=2, test=2), str(tmp_path / "ids.txt"))


def test_a_split_file_comes_back_as_it_was(image_store: Store, tmp_path: Path) -> None:
    found = split(image_store(), 3)
    (tmp_path / "split.json").write_text(found.dump())
    assert Split.load(tmp_path / "split.json") == found


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", '{"schema": "fewmask-split", "schema_version": 1}', "\x89HDF"],
)
def test_what_is_no_split_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "split.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ArtefactError, match=r"split\.json: not a split file .*Run 'dvc repro split'"):
        Split.load(path)


def test_another_version_is_refused(image_store: Store, tmp_path: Path) -> None:
    raw = json.loads(split(image_store(), 3).dump())
    path = tmp_path / "split.json"
    path.write_text(json.dumps({**raw, "schema_version": 2}))
    with pytest.raises(ArtefactError, match="another schema"):
        Split.load(path)
    with pytest.raises(ArtefactError, match="not a split file"):
        Split.load(tmp_path / "none.json")


def test_masks_of_nothing_but_void_are_refused(image_store: Store) -> None:
    with pytest.raises(DataError, match=r"the 2 labelled masks hold only void \(255\)"):
        split(image_store(rows=[*rows([], []), *HELD_OUT]), 2)
