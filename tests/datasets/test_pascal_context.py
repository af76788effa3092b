"""PASCAL-Context as mmsegmentation's converter leaves it: index masks and two lists beside the images of VOC 2010."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fewmask.core.errors import DataError
from fewmask.core.masks import IGNORE
from fewmask.datasets.base.classes import voc_colour
from fewmask.datasets.base.fitting import PADDING
from fewmask.datasets.base.scan import scan
from fewmask.datasets.pascal_context.pascal_context import Config, PascalContext, open_dataset

Save = Callable[..., Path]
Make = Callable[..., np.ndarray]
Context = Callable[..., PascalContext]
SIZE = {"2008_000002": (20, 30), "2008_000003": (30, 20), "2009_000001": (18, 30), "2010_000001": (30, 30)}
LISTS = {"train": "2008_000003\n2008_000002\n", "val": "2009_000001\n"}
LIST = "ImageSets/SegmentationContext"
MASK = "SegmentationClassContext/2008_000002.png"


def sixty(seed: int, size: tuple[int, int]) -> np.ndarray:
    """A mask with each of the 60 classes."""
    mask = np.random.default_rng(seed).integers(0, 60, size, np.uint8)
    mask.flat[:60] = range(60)
    return mask


def with_id(value: int, kind: type = np.uint8) -> np.ndarray:
    """A mask of background with one pixel of ``value``."""
    mask = np.zeros(SIZE["2008_000002"], kind)
    mask[2, 3] = value
    return mask


@pytest.fixture
def context(tmp_path: Path, save: Save, noise: Make) -> Context:
    """``context(size=...)`` -> two images for training, one for validation, and one that no list holds."""
    for number, (name, size) in enumerate(SIZE.items()):
        save(f"JPEGImages/{name}.jpg", noise(number, size))
        save(f"SegmentationClassContext/{name}.png", sixty(number, size))
    for name, text in LISTS.items():
        save(f"{LIST}/{name}.txt", text.encode())

    def make(**options: Any) -> PascalContext:
        return open_dataset(Config(kind="pascal_context", root=str(tmp_path), **options))

    return make


def refused(dataset: PascalContext) -> list[str]:
    """What is said when every image is read, a line a problem."""
    with pytest.raises(DataError) as caught:
        list(scan(dataset, dataset.samples(), "test"))
    return str(caught.value).splitlines()


def test_the_lists_are_the_roles(context: Context) -> None:
    assert [(sample.id, sample.role) for sample in context().samples()] == [
        ("2008_000002", "train"),
        ("2008_000003", "train"),
        ("2009_000001", "validation"),
    ]


def test_ids_stay_and_the_background_is_scored(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = context(size=None)
    mask = dataset.read(dataset.samples()[0])[1]
    assert mask is not None
    assert (mask == sixty(0, SIZE["2008_000002"])).all()
    assert set(np.unique(mask)) == set(range(60))
    assert capsys.readouterr().err == ""


def test_a_palette_changes_nothing(context: Context, save: Save) -> None:
    picture = Image.fromarray(sixty(7, SIZE["2008_000002"]))
    picture.putpalette([value for index in range(256) for value in (255 - index, index // 2, 7)])
    save(MASK, picture)
    dataset = context(size=None)
    assert (dataset.read(dataset.samples()[0])[1] == sixty(7, SIZE["2008_000002"])).all()


def test_images_are_padded_never_stretched(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the padding is void, and no word is lost about that."""
    dataset = context()
    for sample, image, mask in scan(dataset, dataset.samples(), "test"):
        height, width = SIZE[sample.id]
        assert sample.image
        assert mask is not None
        assert image.shape[:2] == mask.shape == (505, 505)
        assert (image[:height, :width] == np.asarray(Image.open(sample.image))).all()
        assert (image[height:] == PADDING).all()
        assert (mask[:height, :width] < 60).all()
        assert (mask[height:] == IGNORE).all()
        assert (mask[:, width:] == IGNORE).all()
    assert capsys.readouterr().err == ""


def test_names_and_colours_belong_together() -> None:
    """Names at places that tell the order from the two others in use, in which VOC's 20 classes come first."""
    names = {0: "background", 1: "aeroplane", 2: "bag", 20: "cow", 37: "person", 50: "table", 55: "tvmonitor"}
    assert {index: PascalContext.classes[index] for index in names} == names
    assert PascalContext.classes[58:] == ("window", "wood")
    assert list(PascalContext.classes[1:]) == sorted(PascalContext.classes[1:])
    assert PascalContext.colours == tuple(voc_colour(index) for index in range(60))
    assert len(set(PascalContext.colours)) == len(set(PascalContext.classes)) == 60


def test_255_is_void_and_the_doubt_about_it_is_said_once(
    context: Context, save: Save, capsys: pytest.CaptureFixture[str]
) -> None:
    save(MASK, with_id(IGNORE))
    save("SegmentationClassContext/2008_000003.png", np.full(SIZE["2008_000003"], IGNORE, np.uint8))
    dataset = context()
    masks = [dataset.read(sample)[1] for sample in dataset.samples()]
    assert masks[0] is not None
    assert masks[0][2, 3] == IGNORE
    err = capsys.readouterr().err
    assert err.count("warning: ") == 1
    assert f"{MASK}: holds 255, read as void; no mask of the 60 classes does as it is converted. Where 255 is" in err


@pytest.mark.parametrize(
    ("mask", "found"),
    [
        (with_id(60), "class id 60 at row 2, column 3; expected 0..59 or 255 (ignore)"),
        (with_id(207), "class id 207 at row 2, column 3; expected 0..59 or 255 (ignore)"),
        (with_id(187, np.uint16), "class id 187 at row 2, column 3; expected 0..59 or 255 (ignore)"),
        (with_id(458, np.uint16), "class id 458; expected ids up to 255"),
    ],
)
def test_ids_of_all_459_classes_are_told_what_to_do(context: Context, save: Save, mask: np.ndarray, found: str) -> None:
    save(MASK, mask)
    (line,) = refused(context())
    remedy = "Convert masks of 459 classes to the 60 with mmsegmentation's tools/dataset_converters/pascal_context.py."
    assert line.endswith(f"{MASK}: {found}. {remedy}")


def test_everything_wrong_with_masks_is_told_together(context: Context, save: Save) -> None:
    save(MASK, np.zeros((30, 20), np.uint8))
    save("SegmentationClassContext/2008_000003.png", np.zeros((*SIZE["2008_000003"], 3), np.uint8))
    save("SegmentationClassContext/2009_000001.png", b"no picture")
    lines = refused(context())
    assert len(lines) == 3
    assert "mask is 20x30, its image 2008_000002.jpg is 30x20; expected one size" in lines[0]
    assert (
        "2008_000003.png: an RGB mask; expected a grey or palette PNG whose pixel values are the class ids" in lines[1]
    )
    assert "2009_000001.png: not an image; expected PNG or JPEG. Remove or replace it." in lines[2]


def test_all_that_is_missing_is_told_with_where_it_comes_from(context: Context, tmp_path: Path) -> None:
    dataset = context()
    (tmp_path / LIST / "val.txt").unlink()
    with pytest.raises(DataError, match=rf"holds no {LIST}/val\.txt; expected JPEGImages, SegmentationClassContext,"):
        dataset.samples()
    (tmp_path / "JPEGImages").rename(tmp_path / "elsewhere")
    (tmp_path / "SegmentationClassContext").rename(tmp_path / "masks")
    with pytest.raises(DataError) as caught:
        dataset.samples()
    missing = f"JPEGImages, SegmentationClassContext, {LIST}/val.txt"
    expected = f"JPEGImages, SegmentationClassContext, {LIST}/train.txt and {LIST}/val.txt"
    remedy = "Set dataset.root to the VOC2010 of VOCtrainval_03-May-2010.tar, and make the rest with mmsegmentation's"
    assert str(caught.value) == (
        f"{tmp_path}: holds no {missing}; expected {expected}. {remedy} "
        "tools/dataset_converters/pascal_context.py (docs/datasets.md)."
    )


def test_an_empty_list_is_told(context: Context, save: Save) -> None:
    save(f"{LIST}/train.txt", b"\n \n")
    with pytest.raises(DataError, match=r"train\.txt: holds no name; expected names of images"):
        context().samples()


def test_leaks_and_names_without_files_of_both_lists_are_told_together(context: Context, save: Save) -> None:
    save(f"{LIST}/train.txt", b"2008_000002\n2009_000001\n\n2008_000009\n")
    save(f"{LIST}/val.txt", b"2009_000001\n2009_000002\n")
    save("JPEGImages/2009_000002.jpg", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(DataError) as caught:
        context().samples()
    remedy = "expected an image and a mask. Add or remove it."
    assert [line.rpartition("SegmentationContext/")[2] for line in str(caught.value).splitlines()] == [
        "train.txt: 1 names are in val.txt, too, such as '2009_000001': a leak. Remove them from one of the lists.",
        f"train.txt:4: '2008_000009' is not in JPEGImages nor in SegmentationClassContext; {remedy}",
        f"val.txt:2: '2009_000002' is not in SegmentationClassContext; {remedy}",
    ]
