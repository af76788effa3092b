"""Labelling in shards: a kill costs one shard, and whole ones are not made again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fewmask.prediction import shards
from fewmask.prediction.shards import label_batch, label_in_shards
from fewmask.selection.filter import filter_store, measure
from fewmask.stores.codes import encode
from fewmask.stores.images import Images
from fewmask.stores.labels import Labels, merge, write_labels

NAMES = [f"i{number:03d}" for number in range(7)]


class Counting:
    """A predictor that labels by brightness and counts the images it is shown."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, images: np.ndarray) -> tuple[Tensor, Tensor]:
        self.seen += len(images)
        red = torch.from_numpy(images[..., 0])
        return (red % 3).to(torch.uint8), red.float() / 255


@pytest.fixture
def label(
    image_store: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[Path]]:
    """``label(predictor)`` labels seven images into shards of three."""
    monkeypatch.setattr(shards, "SHARD", 3)
    monkeypatch.setattr(shards, "BATCH", 2)
    store = image_store(train=7)

    def run(predictor: Counting) -> list[Path]:
        (tmp_path / "scratch").mkdir(exist_ok=True)
        with Images(store) as images:
            return label_in_shards(predictor, images, NAMES, tmp_path / "scratch", "test")  # type: ignore[arg-type]

    return run


def test_images_come_labelled_in_order(
    label: Callable[..., list[Path]], tmp_path: Path, image_store: Callable[..., Path]
) -> None:
    predictor = Counting()
    paths = label(predictor)
    assert [path.name for path in paths] == ["shard-00000.h5", "shard-00001.h5", "shard-00002.h5"]
    assert predictor.seen == 7
    merge(tmp_path / "out.h5", paths, ["sky", "road", "car"], "", {})
    with Labels(tmp_path / "out.h5") as labels, Images(tmp_path / "images.h5") as images:
        assert labels.stems == NAMES
        for item in labels:
            red = images.image(item.stem)[..., 0]
            assert (item.label == red % 3).all()
            assert (item.code == encode(red.astype(np.float32) / np.float32(255))).all()


@pytest.mark.parametrize(
    ("harm", "again"),
    [
        (lambda path: None, 0),
        (lambda path: path.unlink(), 3),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), 3),
        (lambda path: path.write_bytes(b""), 3),
    ],
)
def test_only_what_is_missing_or_damaged_is_made_again(
    label: Callable[..., list[Path]], harm: Callable[[Path], object], again: int, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = label(Counting())
    before = [path.read_bytes() for path in paths]
    harm(paths[1])
    capsys.readouterr()
    predictor = Counting()
    assert label(predictor) == paths
    assert predictor.seen == again
    assert [path.read_bytes() for path in paths] == before
    assert f"[test] resumed: {3 if again == 0 else 2} of 3 shards are there" in capsys.readouterr().out


def test_padding_gets_no_label_and_nothing_counts_it(
    image_store: Callable[..., Path], image_rows: Callable[..., list[Any]], tmp_path: Path
) -> None:
    """Half of the pixels of the first image and a sixth of the second's are image; filtering keeps 255 there."""
    rows = [(*row, extent) for row, extent in zip(image_rows(train=3), ((6, 16), (12, 2), None), strict=False)]
    with Images(image_store(rows=rows)) as images:
        items = label_batch(Counting(), images, images.ids)  # type: ignore[arg-type]
        write_labels(tmp_path / "labels.h5", items, images.class_names)
        for item, (_, _, image, _, extent) in zip(items, rows, strict=True):
            red = image[..., 0]
            height, width = extent or (12, 16)
            inside = np.zeros((12, 16), bool)
            inside[:height, :width] = True
            assert (item.label == np.where(inside, red % 3, 255)).all()
            assert (item.code == np.where(inside, encode(red.astype(np.float32) / np.float32(255)), 0)).all()
        with Labels(tmp_path / "labels.h5") as labels:
            pixels = [6 * 16, 12 * 2, 12 * 16]
            assert labels.histogram.sum((1, 2)).tolist() == pixels
            assert measure(labels, images, images.ids).sum() == sum(pixels)
            for minimum, share in (([0, 0, 0], 1.0), ([0, 256, 0], None), ([256, 256, 256], 0.0)):
                found = filter_store(tmp_path / "kept.h5", labels, images.ids, np.array(minimum), "")
                assert share is None or found == share
                with Labels(tmp_path / "kept.h5") as kept:
                    for item in kept:
                        height, width = images.extent(item.stem)
                        assert (item.label[height:] == 255).all()
                        assert (item.label[:, width:] == 255).all()
