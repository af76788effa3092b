"""PASCAL VOC 2012, alone and augmented."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fewmask.core.errors import DataError
from fewmask.core.masks import IGNORE
from fewmask.datasets.base.fitting import PADDING
from fewmask.datasets.base.scan import scan
from fewmask.datasets.voc.voc import Config, Voc, open_dataset

Save = Callable[..., Path]
Make = Callable[..., np.ndarray]
SIZE = {"2007_1": (20, 30), "2007_2": (30, 20), "2008_1": (24, 30), "2008_2": (30, 30), "2009_1": (18, 30)}
LISTS = {"train": "2007_2\n2007_1\n", "val": "2009_1\n", "train_aug": "2007_1\n2007_2\n2008_1\n"}


def palette(ids: np.ndarray) -> Image.Image:
    """A mask as VOC has it: indices into 256 colours."""
    picture = Image.fromarray(ids)
    picture.putpalette([value for index in range(256) for value in (255 - index, index // 2, 7)])
    assert picture.mode == "P"
    return picture


@pytest.fixture
def voc(tmp_path: Path, save: Save, noise: Make, ids: Make) -> Callable[..., Voc]:
    """``voc(augmented=False)`` -> five images: two in train, one in val, all but 2008_2 in the lists."""
    for number, (name, size) in enumerate(SIZE.items()):
        save(f"JPEGImages/{name}.jpg", noise(number, size))
        save(f"SegmentationClassAug/{name}.png", ids(number + 9, 21, size))
    for name in ("2007_1", "2007_2", "2009_1"):
        save(f"SegmentationClass/{name}.png", palette(ids(len(name), 21, SIZE[name])))
    for name, text in LISTS.items():
        save(f"ImageSets/Segmentation/{name}.txt", text.encode())

    def make(**options: Any) -> Voc:
        return open_dataset(Config(kind="voc", root=str(tmp_path), **options))

    return make


def found(dataset: Voc) -> dict[str, list[tuple[str, str]]]:
    """Role -> ids and the folders of their masks, in order."""
    roles: dict[str, list[tuple[str, str]]] = {}
    for sample in dataset.samples():
        assert sample.mask
        roles.setdefault(sample.role, []).append((sample.id, sample.mask.parent.name))
    return roles


def test_alone_it_is_train_and_val_with_their_own_masks(voc: Callable[..., Voc]) -> None:
    own = "SegmentationClass"
    assert found(voc(augmented=False)) == {"train": [("2007_1", own), ("2007_2", own)], "validation": [("2009_1", own)]}


def test_augmented_it_is_the_longer_list_with_the_other_masks(voc: Callable[..., Voc]) -> None:
    more = "SegmentationClassAug"
    assert found(voc()) == {
        "train": [("2007_1", more), ("2007_2", more), ("2008_1", more)],
        "validation": [("2009_1", "SegmentationClass")],
    }


def test_without_the_longer_list_all_masks_but_vals_are_for_training_and_that_is_said(
    voc: Callable[..., Voc], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ImageSets/Segmentation/train_aug.txt").unlink()
    assert [name for name, _ in found(voc())["train"]] == ["2007_1", "2007_2", "2008_1", "2008_2"]
    said = capsys.readouterr()
    assert (
        "train_aug.txt: no such file; every mask of SegmentationClassAug that is not in val.txt" in said.out + said.err
    )


def test_a_list_may_hold_paths_blank_lines_and_repetitions(voc: Callable[..., Voc], save: Save) -> None:
    lines = "\ufeff/JPEGImages/2008_1.jpg /SegmentationClassAug/2008_1.png\r\n\r\n2007_1 1\r\n2007_1"
    save("ImageSets/Segmentation/train_aug.txt", lines.encode())
    assert [name for name, _ in found(voc())["train"]] == ["2007_1", "2008_1"]


def test_masks_are_indices_never_colours(voc: Callable[..., Voc], ids: Make) -> None:
    dataset = voc(augmented=False)
    mask = dataset.read(dataset.samples()[0])[1]
    assert mask is not None
    assert (mask[:20, :30] == ids(6, 21, (20, 30))).all()
    assert set(np.unique(mask)) == {*range(21), IGNORE}


def test_images_are_padded_never_stretched(voc: Callable[..., Voc]) -> None:
    dataset = voc()
    assert dataset.config.size == (505, 505)
    for sample, image, mask in scan(dataset, dataset.samples(), "test"):
        height, width = SIZE[sample.id]
        assert sample.image
        assert mask is not None
        assert image.shape[:2] == mask.shape == (505, 505)
        assert (image[:height, :width] == np.asarray(Image.open(sample.image))).all()
        assert (image[height:] == PADDING).all()
        assert (mask[height:] == IGNORE).all()
        assert (mask[:, width:] == IGNORE).all()


def test_names_and_colours_belong_together(voc: Callable[..., Voc]) -> None:
    dataset = voc()
    assert [dataset.classes[index] for index in (0, 1, 8, 15, 20)] == [
        "background",
        "aeroplane",
        "cat",
        "person",
        "tvmonitor",
    ]
    assert [dataset.colours[index] for index in (0, 1, 8, 20)] == [(0, 0, 0), (128, 0, 0), (64, 0, 0), (0, 64, 128)]
    assert len(set(dataset.colours)) == len(set(dataset.classes)) == 21


def test_coloured_masks_are_refused(voc: Callable[..., Voc], save: Save) -> None:
    save("SegmentationClassAug/2008_1.png", palette(np.zeros((24, 30), np.uint8)).convert("RGB"))
    dataset = voc()
    with pytest.raises(DataError, match=r"2008_1\.png: an RGB mask; expected a grey or palette PNG whose pixel values"):
        list(scan(dataset, dataset.samples(), "test"))


def test_an_id_out_of_range_is_named(voc: Callable[..., Voc], save: Save) -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[2, 3] = 21
    save("SegmentationClass/2007_1.png", palette(mask))
    dataset = voc(augmented=False)
    with pytest.raises(
        DataError, match=r"class id 21 at row 2, column 3; expected 0\.\.20 or 255 \(ignore\)\. Take the"
    ):
        list(scan(dataset, dataset.samples(), "test"))


def test_a_mask_of_another_size_is_named(voc: Callable[..., Voc], save: Save) -> None:
    save("SegmentationClassAug/2007_2.png", np.zeros((20, 30), np.uint8))
    dataset = voc()
    with pytest.raises(
        DataError, match=r"2007_2\.png: mask is 30x20, its image 2007_2\.jpg is 20x30; expected one size"
    ):
        list(scan(dataset, dataset.samples(), "test"))


@pytest.mark.parametrize(
    ("lost", "match"),
    [
        ("JPEGImages", r"JPEGImages: no such folder\. Fix the path"),
        ("SegmentationClass", r"SegmentationClass: no such folder\. Fix the path"),
        ("SegmentationClassAug", r"Aug: no such folder; expected the masks of 10582 .*set dataset\.augmented: false"),
        ("ImageSets/Segmentation/val.txt", r"val\.txt: no such file; expected names of images, one a line"),
    ],
)
def test_what_is_missing_is_named(voc: Callable[..., Voc], tmp_path: Path, lost: str, match: str) -> None:
    dataset = voc()
    (tmp_path / lost).rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=match):
        dataset.samples()


def test_without_augmentation_only_its_own_list_is_needed(voc: Callable[..., Voc], tmp_path: Path) -> None:
    (tmp_path / "SegmentationClassAug").rename(tmp_path / "elsewhere")
    (tmp_path / "ImageSets/Segmentation/train_aug.txt").unlink()
    dataset = voc(augmented=False)
    assert len(dataset.samples()) == 3
    (tmp_path / "ImageSets/Segmentation/train.txt").unlink()
    with pytest.raises(DataError, match=r"/train\.txt: no such file"):
        dataset.samples()


def test_every_name_without_its_files_is_told_with_its_line(voc: Callable[..., Voc], save: Save) -> None:
    save("ImageSets/Segmentation/train_aug.txt", b"2007_1\n2007_9\n\n2008_3\n")
    save("JPEGImages/2008_3.jpg", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(DataError) as caught:
        voc().samples()
    lines = [line.rpartition("Segmentation/")[2] for line in str(caught.value).splitlines()]
    remedy = "expected an image and a mask. Add or remove it."
    assert lines == [
        f"train_aug.txt:2: '2007_9' is not in JPEGImages nor in SegmentationClassAug; {remedy}",
        f"train_aug.txt:4: '2008_3' is not in SegmentationClassAug; {remedy}",
    ]


def test_an_empty_list_is_told(voc: Callable[..., Voc], save: Save) -> None:
    save("ImageSets/Segmentation/val.txt", b"\n \n")
    with pytest.raises(DataError, match=r"val\.txt: holds no name; expected names of images"):
        voc().samples()


@pytest.mark.parametrize("augmented", [True, False])
def test_an_image_of_val_in_a_training_list_is_a_leak(voc: Callable[..., Voc], save: Save, augmented: bool) -> None:
    for name in ("train", "train_aug"):
        save(f"ImageSets/Segmentation/{name}.txt", b"2007_1\n2009_1\n")
    with pytest.raises(DataError, match=r"1 names are in val\.txt, too, such as '2009_1': a leak"):
        voc(augmented=augmented).samples()
