"""Cityscapes as it is downloaded."""

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
from fewmask.datasets.cityscapes.cityscapes import Cityscapes, Config, open_dataset

Save = Callable[..., Path]
Make = Callable[..., np.ndarray]
SIZE = (8, 16)
FRAMES = {"train": ["ulm/ulm_000001_000019", "aachen/aachen_000010_000019"], "val": ["lindau/lindau_000000_000019"]}


@pytest.fixture
def frame(save: Save, noise: Make) -> Callable[..., None]:
    """``frame("train/ulm/ulm_1", labels)`` saves an image and its mask of label ids."""

    def make(name: str, labels: np.ndarray | None = None) -> None:
        save(f"leftImg8bit/{name}_leftImg8bit.png", noise(size=SIZE))
        mask = np.full(SIZE, 7, np.uint8) if labels is None else labels
        save(f"gtFine/{name}_gtFine_labelIds.png", mask)
        save(f"gtFine/{name}_gtFine_labelTrainIds.png", mask)
        save(f"gtFine/{name}_gtFine_color.png", noise(size=SIZE))

    return make


@pytest.fixture
def cityscapes(tmp_path: Path, frame: Callable[..., None]) -> Callable[..., Cityscapes]:
    """``cityscapes(size=...)`` -> two training frames of two cities and a validation frame."""

    def make(**options: Any) -> Cityscapes:
        for part, names in FRAMES.items():
            for name in names:
                frame(f"{part}/{name}")
        return open_dataset(Config(kind="cityscapes", root=str(tmp_path), **options))

    return make


def test_frames_are_sorted_by_name_and_have_their_roles(cityscapes: Callable[..., Cityscapes]) -> None:
    assert [(sample.id, sample.role) for sample in cityscapes().samples()] == [
        ("aachen_000010_000019", "train"),
        ("ulm_000001_000019", "train"),
        ("lindau_000000_000019", "validation"),
    ]


def test_extras_the_test_part_and_a_mac_s_shadows_are_left_out(
    cityscapes: Callable[..., Cityscapes], save: Save, noise: Make
) -> None:
    dataset = cityscapes()
    for name in ("test/bonn/bonn_000000_000019", "train_extra/bayreuth/bayreuth_000000_000019", "train/ulm/._ulm_1"):
        save(f"leftImg8bit/{name}_leftImg8bit.png", noise(size=SIZE))
    assert len(dataset.samples()) == 3


def test_label_ids_become_19_classes(cityscapes: Callable[..., Cityscapes], frame: Callable[..., None]) -> None:
    """All 34 ids, the licence plate (-1 in 8 bits), and one road."""
    labels = np.full(SIZE, 255, np.uint8)
    labels.flat[:34] = range(34)
    dataset = cityscapes()
    frame("train/" + FRAMES["train"][0], labels)
    mask = dataset.read(dataset.samples()[1])[1]
    assert mask is not None
    road, void = 0, IGNORE
    assert mask.flat[:12].tolist() == [void] * 7 + [road, 1, void, void, 2]
    assert mask.flat[12:34].tolist() == [3, 4, *[void] * 3, 5, void, *range(6, 16), void, void, 16, 17, 18]
    assert set(mask.flat[34:]) == {void}


def test_names_and_colours_belong_together(cityscapes: Callable[..., Cityscapes]) -> None:
    dataset = cityscapes()
    assert len(dataset.classes) == len(set(dataset.colours)) == 19
    assert [dataset.classes[index] for index in (0, 10, 16, 18)] == ["road", "sky", "train", "bicycle"]
    assert dataset.colours[10] == CITYSCAPES["sky"][1] == (70, 130, 180)


def test_half_size_is_a_mean_and_a_vote(
    cityscapes: Callable[..., Cityscapes], frame: Callable[..., None], noise: Make
) -> None:
    """In the first block two pixels are void (ids 0 and 3), two are cars: the car wins; in the second void does."""
    labels = np.full(SIZE, 7, np.uint8)
    labels[:2, :4] = [[0, 26, 0, 26], [26, 3, 3, 4]]
    dataset = cityscapes(size=(4, 8))
    frame("train/" + FRAMES["train"][1], labels)
    image, mask = dataset.read(dataset.samples()[0])
    assert mask is not None
    assert mask[0].tolist() == [13, IGNORE, *[0] * 6]
    assert np.abs(image - noise(size=SIZE).reshape(4, 2, 8, 2, 3).mean((1, 3))).max() <= 0.5


def test_an_id_that_is_none_of_cityscapes_is_named(
    cityscapes: Callable[..., Cityscapes], frame: Callable[..., None]
) -> None:
    dataset = cityscapes()
    frame("val/" + FRAMES["val"][0], np.full(SIZE, 34, np.uint8))
    with pytest.raises(
        DataError, match=r"lindau.*labelIds\.png: class id 34 at row 0, column 0; .* as it was published"
    ):
        list(scan(dataset, dataset.samples(), "test"))


def test_a_coloured_mask_is_refused(cityscapes: Callable[..., Cityscapes], save: Save, noise: Make) -> None:
    dataset = cityscapes()
    save(f"gtFine/val/{FRAMES['val'][0]}_gtFine_labelIds.png", noise(size=SIZE))
    with pytest.raises(
        DataError, match=r"an RGB mask; expected a grey or palette PNG whose pixel values are the class"
    ):
        dataset.read(dataset.samples()[2])


def test_a_mask_of_another_size_is_named(cityscapes: Callable[..., Cityscapes], frame: Callable[..., None]) -> None:
    dataset = cityscapes()
    frame("val/" + FRAMES["val"][0], np.full((4, 8), 7, np.uint8))
    with pytest.raises(DataError, match=r"labelIds\.png: mask is 8x4, its image .* is 16x8; expected one size"):
        dataset.read(dataset.samples()[2])


@pytest.mark.parametrize("lost", ["leftImg8bit/train", "leftImg8bit/val", "gtFine/train", "gtFine/val"])
def test_a_missing_folder_is_named_with_what_to_unpack(
    cityscapes: Callable[..., Cityscapes], tmp_path: Path, lost: str
) -> None:
    dataset = cityscapes()
    (tmp_path / lost).rename(tmp_path / "elsewhere")
    with pytest.raises(
        DataError, match=rf"holds no {lost}; expected .*Unpack leftImg8bit_trainvaltest\.zip and gtFine_"
    ):
        dataset.samples()


@pytest.mark.parametrize("lost", ["leftImg8bit/train/{}_leftImg8bit.png", "gtFine/train/{}_gtFine_labelIds.png"])
def test_an_image_and_a_mask_for_each_other(cityscapes: Callable[..., Cityscapes], tmp_path: Path, lost: str) -> None:
    dataset = cityscapes()
    (tmp_path / lost.format(FRAMES["train"][0])).unlink()
    with pytest.raises(
        DataError, match=r"train: 1 names in only one of the two, such as 'ulm_000001_000019'; expected"
    ):
        dataset.samples()


def test_a_part_without_images_is_told(cityscapes: Callable[..., Cityscapes], tmp_path: Path) -> None:
    dataset = cityscapes()
    for path in tmp_path.glob("*/val/*/*.png"):
        path.unlink()
    with pytest.raises(DataError, match=r"val: no image in either; expected for each .*leftImg8bit/val/CITY/NAME_left"):
        dataset.samples()


@pytest.mark.parametrize(("copy", "match"), [("train/bonn", "in one city"), ("val/ulm", r"also stands as .*: a leak")])
def test_one_frame_twice_is_refused(
    cityscapes: Callable[..., Cityscapes], frame: Callable[..., None], copy: str, match: str
) -> None:
    dataset = cityscapes()
    frame(f"{copy}/ulm_000001_000019")
    with pytest.raises(DataError, match=match):
        dataset.samples()


def test_a_link_out_of_the_root_is_refused(
    cityscapes: Callable[..., Cityscapes], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, noise: Make
) -> None:
    dataset = cityscapes()
    outside = tmp_path_factory.mktemp("other") / "image.png"
    Image.fromarray(noise(size=SIZE)).save(outside)
    link = tmp_path / f"leftImg8bit/train/{FRAMES['train'][0]}_leftImg8bit.png"
    link.unlink()
    link.symlink_to(outside)
    with pytest.raises(DataError, match="leads outside the data root"):
        dataset.samples()
