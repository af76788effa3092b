"""GTA5 as it is unpacked: palette labels whose indices are the ids of Cityscapes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fewmask.core.errors import DataError
from fewmask.core.masks import IGNORE
from fewmask.datasets.base.classes import CITYSCAPES
from fewmask.datasets.base.scan import scan
from fewmask.datasets.cityscapes.cityscapes import Cityscapes
from fewmask.datasets.gta5.gta5 import Config, Gta5, open_dataset

Save = Callable[..., Path]
Make = Callable[..., np.ndarray]
SIZE = (8, 16)
NAMES = ["00001", "15188", "17705", "24966"]


def palette_png(labels: np.ndarray) -> Image.Image:
    """Mode P, coloured as Cityscapes colours its ids, so that no colour is its index."""
    picture = Image.frombytes("P", labels.shape[::-1], labels.tobytes())
    colours = np.zeros((256, 3), np.uint8)
    for number, colour in CITYSCAPES.values():
        colours[number] = colour
    picture.putpalette(colours.tobytes())
    return picture


@pytest.fixture
def pair(save: Save, noise: Make) -> Callable[..., None]:
    """``pair("00001", labels)`` saves an image and its label of ids."""

    def make(name: str, labels: np.ndarray | None = None, size: tuple[int, int] = SIZE) -> None:
        save(f"images/{name}.png", noise(size=size))
        save(f"labels/{name}.png", palette_png(np.full(size, 7, np.uint8) if labels is None else labels))

    return make


@pytest.fixture
def gta5(tmp_path: Path, pair: Callable[..., None]) -> Callable[..., Gta5]:
    """``gta5(size=...)`` -> four images, all whole."""

    def make(**options: Any) -> Gta5:
        for name in NAMES:
            pair(name)
        return open_dataset(Config(kind="gta5", root=str(tmp_path), **{"size": None, **options}))

    return make


def test_all_images_are_for_training_in_order(gta5: Callable[..., Gta5]) -> None:
    assert [(sample.id, sample.role) for sample in gta5().samples()] == [(name, "train") for name in NAMES]


def test_palette_indices_become_the_classes_of_cityscapes(gta5: Callable[..., Gta5], pair: Callable[..., None]) -> None:
    """All 35 ids, the last a licence plate, and road in the rest: indices, whatever colours the palette gives them."""
    labels = np.full(SIZE, 7, np.uint8)
    labels.flat[:35] = range(35)
    dataset = gta5()
    pair("00001", labels)
    mask = dataset.read(dataset.samples()[0])[1]
    assert mask is not None
    road, void = 0, IGNORE
    assert mask.flat[:12].tolist() == [void] * 7 + [road, 1, void, void, 2]
    assert mask.flat[12:35].tolist() == [3, 4, *[void] * 3, 5, void, *range(6, 16), void, void, 16, 17, 18, void]
    assert set(mask.flat[35:]) == {road}


def test_its_classes_are_those_of_cityscapes() -> None:
    assert (Gta5.classes, Gta5.colours) == (Cityscapes.classes, Cityscapes.colours)


def test_grey_labels_with_the_same_ids_are_read_alike(gta5: Callable[..., Gta5], save: Save) -> None:
    dataset = gta5()
    save("labels/00001.png", np.full(SIZE, 26, np.uint8))
    mask = dataset.read(dataset.samples()[0])[1]
    assert mask is not None
    assert (mask == 13).all()


def test_a_label_whose_palette_was_expanded_is_refused(gta5: Callable[..., Gta5], save: Save) -> None:
    dataset = gta5()
    save("labels/24966.png", palette_png(np.full(SIZE, 7, np.uint8)).convert("RGB"))
    with pytest.raises(DataError, match=r"24966\.png: an RGB mask; expected a grey or palette PNG .* nobody coloured"):
        list(scan(dataset, dataset.samples(), "test"))


def test_an_id_beyond_34_is_named(gta5: Callable[..., Gta5], pair: Callable[..., None]) -> None:
    """Such as the 255 of copies that hold the class numbers already: their other ids would be misread."""
    dataset = gta5()
    pair("00001", np.full(SIZE, 255, np.uint8))
    with pytest.raises(DataError, match=r"labels/00001\.png: class id 255 at row 0, column 0; .* as it was published"):
        dataset.read(dataset.samples()[0])


def test_the_two_broken_pairs_are_left_out_and_counted_once(
    gta5: Callable[..., Gta5], save: Save, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = gta5()
    for name in ("15188", "17705"):
        save(f"labels/{name}.png", palette_png(np.full((8, 12), 7, np.uint8)))
    assert [sample.id for sample in dataset.samples()] == ["00001", "24966"]
    assert [sample.id for sample in dataset.samples()] == ["00001", "24966"]
    out = capsys.readouterr().out
    assert out.count("2 images left out, whose labels were published broken: 15188, 17705") == 1
    assert len(list(scan(dataset, dataset.samples(), "test"))) == 2


def test_a_mended_pair_is_used(gta5: Callable[..., Gta5], capsys: pytest.CaptureFixture[str]) -> None:
    assert len(gta5().samples()) == 4
    assert capsys.readouterr().out == ""


def test_any_other_mismatch_is_named(gta5: Callable[..., Gta5], save: Save) -> None:
    dataset = gta5()
    save("labels/00001.png", palette_png(np.full((8, 12), 7, np.uint8)))
    with pytest.raises(DataError, match=r"labels/00001\.png: mask is 12x8, its image 00001\.png is 16x8; expected one"):
        list(scan(dataset, dataset.samples(), "test"))


def test_images_of_slightly_different_sizes_come_to_one(gta5: Callable[..., Gta5], pair: Callable[..., None]) -> None:
    dataset = gta5(size=(4, 8))
    pair("00001", size=(8, 14))
    for _, image, mask in scan(dataset, dataset.samples(), "test"):
        assert mask is not None
        assert (image.shape, mask.shape) == ((4, 8, 3), (4, 8))


@pytest.mark.parametrize("lost", ["images", "labels"])
def test_an_image_and_a_label_for_each_other(gta5: Callable[..., Gta5], tmp_path: Path, lost: str) -> None:
    dataset = gta5()
    for name in ("24966", "17705"):
        (tmp_path / lost / f"{name}.png").unlink()
    with pytest.raises(DataError, match=r"2 names in only one of images and labels, such as '17705'; expected a label"):
        dataset.samples()


@pytest.mark.parametrize("kind", ["images", "labels"])
def test_another_layout_is_told_what_to_do(gta5: Callable[..., Gta5], tmp_path: Path, kind: str) -> None:
    dataset = gta5()
    (tmp_path / kind).rename(tmp_path / "train")
    with pytest.raises(DataError, match=rf"{kind}: holds no image; expected .*Unpack the archives there, or fix"):
        dataset.samples()
    (tmp_path / kind).mkdir()
    (tmp_path / "train").rename(tmp_path / kind / "train")
    with pytest.raises(DataError, match=rf"{kind}: holds no image but in train; expected .* Move the files up into it"):
        dataset.samples()
