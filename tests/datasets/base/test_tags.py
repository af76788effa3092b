"""Image-level labels: from a list, as people save it, or from masks; of training images alone."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fewmask.core.errors import DataError
from fewmask.core.params import Params
from fewmask.datasets.base.dataset import Sample
from fewmask.datasets.base.opening import open_dataset, read_target
from fewmask.datasets.base.tags import Tags, read_tags
from fewmask.datasets.folder import folder
from fewmask.datasets.streets import streets

CLASSES = ["background", "road", "traffic, light", "Stra\u00dfe"]
SAMPLES = [
    *(Sample(name, "train", Path(f"{name}.png")) for name in ("a", "b", "id", "caf\u00e9")),
    Sample("m", "train", Path("m.png"), Path("m.png")),
    Sample("v", "validation", Path("v.png"), Path("v.png")),
    Sample("t", "test", Path("t.png"), Path("t.png")),
]
Read = Callable[..., Tags]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """``read("a,road", classes)`` -> the tags of this file, or of these bytes."""

    def make(content: str | bytes, classes: list[str] = CLASSES, samples: list[Sample] = SAMPLES) -> Tags:
        (tmp_path / "tags.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        config = folder.Config(kind="folder", root=str(tmp_path), classes=classes, tags="tags.csv")
        return read_tags(config, classes, samples)

    return make


def refused(read: Read, *arguments: object) -> list[str]:
    """The lines of the error, from the name of the file on."""
    with pytest.raises(DataError) as caught:
        read(*arguments)
    return [line.rpartition("/")[2] for line in str(caught.value).splitlines()]


def rows(tags: Tags) -> dict[str, list[int]]:
    found = {sample.id: tags.of(sample, None) for sample in SAMPLES}
    return {name: row.tolist() for name, row in found.items() if row is not None}


def test_each_line_is_an_image_and_what_it_shows(read: Read) -> None:
    """The background is in every one of them; no other class is that is not listed."""
    tags = read("a,road\nb,background,road,road\nm\n")
    assert rows(tags) == {"a": [1, 1, 0, 0], "b": [1, 1, 0, 0], "m": [1, 0, 0, 0]}
    assert tags.of(SAMPLES[0], None).dtype == np.uint8
    assert tags.count(SAMPLES) == 3
    assert rows(read("a,road\nb\n", ["sky", "road"])) == {"a": [0, 1], "b": [0, 0]}


@pytest.mark.parametrize(
    "content",
    [
        'a,road,"traffic, light"\n',
        ' a , road, "traffic, light" ,,\r\n\r\n  \r\n,,\r\n',
        b'\xef\xbb\xbfa,road,"traffic, light"',
        'id,class,class\na,road,"traffic, light"\n',
        '\n\nid,\na,"traffic, light",road',
    ],
)
def test_a_list_is_read_as_people_save_it(read: Read, content: str | bytes) -> None:
    samples = [sample for sample in SAMPLES if sample.id != "id"]
    assert read(content, CLASSES, samples).listed == {"a": {0, 1, 2}}


def test_a_first_line_of_an_image_named_id_is_no_header(read: Read) -> None:
    assert rows(read("id,road\n")) == {"id": [1, 1, 0, 0]}
    without = [sample for sample in SAMPLES if sample.id != "id"]
    assert refused(read, "a\nid,road\n", CLASSES, without)[0].startswith("tags.csv:2: 'id' is no image")
    assert refused(read, "id\n", CLASSES, without)[0].startswith("tags.csv:1: 'id' is no image")


def test_another_unicode_form_finds_its_image_and_class(read: Read) -> None:
    tags = read("cafe\u0301,cafe\u0301\n", ["road", "caf\u00e9"])
    assert rows(tags) == {"caf\u00e9": [0, 1]}


def test_everything_wrong_with_a_list_is_told_at_once(read: Read) -> None:
    content = "id.png,road\nv,road\nt\na,raod,zzz\nb,road\n\na,road\nzzz,rod\n"
    assert refused(read, content) == [
        "tags.csv:1: 'id.png' is no image; expected an id such as 'a'. Fix the line.",
        "tags.csv:2: 'v' is held out (validation); expected training images. Remove the line.",
        "tags.csv:3: 't' is held out (test); expected training images. Remove the line.",
        "tags.csv:4: 'raod' is no class; expected a class, did you mean 'road'? Fix the line.",
        "tags.csv:4: 'zzz' is no class; expected a class such as 'background'. Fix the line.",
        "tags.csv:7: 'a' stands in line 4 already; expected it once. Remove one.",
        "tags.csv:8: 'zzz' is no image; expected an id such as 'a'. Fix the line.",
        "tags.csv:8: 'rod' is no class; expected a class, did you mean 'road'? Fix the line.",
    ]


def test_an_id_like_another_is_asked_for(read: Read) -> None:
    samples = [Sample(f"street_{number:05d}", "train") for number in range(5)]
    assert refused(read, "street_0002.png,road", CLASSES, samples) == [
        "tags.csv:1: 'street_0002.png' is no image; expected an id, did you mean 'street_00002'? Fix the line."
    ]


def test_a_list_of_another_data_set_is_refused_in_seconds(read: Read) -> None:
    """Alike ids are looked for as long as the problems are shown."""
    samples = [Sample(f"frankfurt_{number:06d}_leftImg8bit", "train") for number in range(3000)]
    begin = time.monotonic()
    told = refused(read, "".join(f"aachen_{number:06d}_gtFine,road\n" for number in range(3000)), CLASSES, samples)
    assert told[20:] == ["and 2980 more"]
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "tags no image; expected lines 'id,class,class'"),
        (b"\xef\xbb\xbf\n ,,\n", "tags no image"),
        ("a,Stra\u00dfe".encode("latin-1"), "not text; expected lines 'id,class,class'. Save it as CSV, UTF-8."),
        ("a,road".encode("utf-16"), "not text"),
        (b"PK\x03\x04\0\0\0", "not text"),
        (b"a," + b"x" * 200_000, "not text"),
    ],
)
def test_an_unusable_list_is_named(read: Read, content: bytes, reason: str) -> None:
    (line,) = refused(read, content)
    assert line.startswith(f"tags.csv: {reason}")


def test_a_header_alone_is_an_empty_list(read: Read) -> None:
    without = [sample for sample in SAMPLES if sample.id != "id"]
    assert refused(read, "id,class\n", CLASSES, without)[0].startswith("tags.csv: tags no image")


def test_a_list_lies_where_dvc_looks(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    (tmp_path / "tags.csv").write_text("a,road\n")
    (root / "link.csv").symlink_to(tmp_path / "tags.csv")

    def read(name: str) -> Tags:
        config = folder.Config(kind="folder", root=str(root), classes=CLASSES, tags=name)
        return read_tags(config, CLASSES, SAMPLES)

    for name in ("../tags.csv", str(tmp_path / "tags.csv"), "link.csv"):
        with pytest.raises(DataError, match=r"leads outside; expected a file below dataset\.root, .*as DVC watches"):
            read(name)
    for name in ("tags.csv", "data/tags.csv", ""):
        with pytest.raises(DataError, match=r"no such file; expected a CSV file .* or 'masks'\. Fix dataset\.tags"):
            read(name)
    (root / "more").mkdir()
    (root / "more/tags.csv").write_text("a,road\n")
    assert rows(read("more/tags.csv")) == {"a": [1, 1, 0, 0]}


def test_masks_say_what_training_images_show() -> None:
    """Background only where it is; of images without a mask, and of those that are held out, nothing."""
    config = folder.Config(kind="folder", root="nowhere", classes=CLASSES, tags="masks")
    tags = read_tags(config, CLASSES, SAMPLES)
    mask = np.array([[1, 1, 255], [3, 1, 1]], np.uint8)
    told = {sample.id: tags.of(sample, mask if sample.mask else None) for sample in SAMPLES}
    assert {name: row.tolist() for name, row in told.items() if row is not None} == {"m": [0, 1, 0, 1]}
    assert tags.count(sample for sample in SAMPLES if sample.role == "train") == 1


def test_drawn_scenes_all_have_masks() -> None:
    dataset = open_dataset(config := streets.Config(kind="streets", size=(24, 32), train=3, tags="masks"))
    train = [sample for sample in dataset.samples() if sample.role == "train"]
    tags = read_tags(config, dataset.classes, train)
    assert tags.count(train) == 3
    mask = dataset.read(train[0])[1]
    assert mask is not None
    row = tags.of(train[0], mask)
    assert row is not None
    assert set(np.flatnonzero(row)) == set(np.unique(mask)) - {255}


def test_without_tags_nothing_is_said(tmp_path: Path) -> None:
    config = folder.Config(kind="folder", root=str(tmp_path), classes=CLASSES)
    tags = read_tags(config, CLASSES, SAMPLES)
    assert all(tags.of(sample, np.zeros((2, 2), np.uint8)) is None for sample in SAMPLES)


LAYOUTS = {
    "{kind: folder, classes: [a, b]}": "images/a.png masks/a.png test/images/b.png test/masks/b.png",
    "{kind: camvid}": "train/a.png trainannot/a.png val/b.png valannot/b.png",
    "{kind: cityscapes}": " ".join(
        f"{folder}/{role}/ulm/{role}_{ending}.png"
        for folder, ending in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelIds"))
        for role in ("train", "val")
    ),
    "{kind: gta5}": "images/00001.png labels/00001.png",
    "{kind: voc, augmented: false}": " ".join(f"JPEGImages/{name}.jpg SegmentationClass/{name}.png" for name in "ab"),
}


@pytest.mark.parametrize("text", LAYOUTS)
def test_a_list_disturbs_no_data_set(
    tmp_path: Path, write_params: Callable[[str], Path], capsys: pytest.CaptureFixture[str], text: str
) -> None:
    root = tmp_path / "data"
    lists = {f"ImageSets/Segmentation/{name}.txt": f"{line}\n" for name, line in (("train", "a"), ("val", "b"))}
    for name, content in {**dict.fromkeys(LAYOUTS[text].split(), ""), **(lists if "voc" in text else {})}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    path = write_params(f"dataset: {text.replace('}', f', root: {root}, tags: tags.csv}}')}\n")
    config = read_target(Params(path))
    before = open_dataset(config).samples()
    (root / "tags.csv").write_text(f"{before[0].id},{open_dataset(config).classes[1]}\n")
    after = open_dataset(config).samples()
    assert after == before
    assert list(read_tags(config, open_dataset(config).classes, after).listed) == [before[0].id]
    assert capsys.readouterr().err == ""


def test_a_quote_without_its_end_and_other_separators_are_told(read: Read) -> None:
    assert refused(read, 'a,road\nb,"road\n') == ["tags.csv:2: a quote without its end; expected two. Close it."]
    assert refused(read, "a;road\n") == [
        "tags.csv:1: 'a;road' is no image; expected an id, cells apart by commas. Fix the line."
    ]


def test_of_a_mask_that_is_void_all_over_nothing_is_said() -> None:
    tags = Tags(3, by_mask=True)
    sample = Sample("m", "train", Path("m.png"), Path("m.png"))
    assert tags.of(sample, np.full((2, 2), 255, np.uint8)) is None
    assert tags.of(sample, np.array([[255, 1]], np.uint8)).tolist() == [0, 1, 0]  # type: ignore[union-attr]
