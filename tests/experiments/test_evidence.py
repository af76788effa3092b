"""Made-up sets in the layouts that are published, in the layout of the kind `folder`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments import evidence
from experiments.evidence import SETS, is_test
from fewmask.core.errors import DataError
from fewmask.datasets.folder.folder import Config, open_dataset

PAIRS = {  # image and mask of the n-th photograph, and the values of its mask -> class ids
    "msrc": ("images/{n}.jpg", "masks/{n}.png", {0: 0, 20: 20, 255: 255}),
    "magnetic_tiles": ("MT_Crack/Imgs/{n}.jpg", "MT_Crack/Imgs/{n}.png", {0: 0, 127: 0, 128: 3, 255: 3}),
    "blood_cells": ("Dataset 1/{n}.bmp", "Dataset 1/{n}.png", {0: 0, 128: 1, 255: 2}),
}
NAMES = ["p_00001", "p_10001", "p_20001", "p_30001", "p_40001", "p_50001"]


def write(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


@pytest.fixture
def convert(tmp_path: Path, monkeypatch) -> Callable[..., Path]:
    """``convert("msrc", change)``: a source of six photographs, changed, brought to the layout."""

    def make(name: str, change: Callable[[Path], None] = lambda source: None) -> Path:
        image, mask, values = PAIRS[name]
        for number in NAMES:
            write(tmp_path / "from" / image.format(n=number), np.full((2, len(values)), 90, np.uint8))
            write(tmp_path / "from" / mask.format(n=number), np.array([list(values)] * 2, np.uint8))
        change(tmp_path / "from")
        monkeypatch.setattr("sys.argv", ["evidence", name, str(tmp_path / "from"), str(tmp_path / "to")])
        evidence.main()
        return tmp_path / "to"

    return make


@pytest.mark.parametrize("name", SETS)
def test_a_published_set_becomes_a_folder_that_the_project_reads(name, convert):
    out, classes = convert(name), list(SETS[name].classes)
    dataset = open_dataset(Config(kind="folder", root=str(out), classes=classes))
    samples = dataset.samples()
    assert {sample.id: sample.role for sample in samples} == {
        n: "test" if is_test(SETS[name].decides(n)) else "train" for n in NAMES
    }
    for sample in samples:
        _, mask = dataset.read(sample)
        assert mask is not None and mask[0].tolist() == list(PAIRS[name][2].values())


def test_test_images_are_chosen_by_name_alone():
    """The first bytes of the SHA-256 of these are 202, 46, 67 and 83."""
    assert [is_test(stem) for stem in ("a", "c", "p3", "p5")] == [False, True, True, False]
    assert sum(is_test(f"{number}") for number in range(10_000)) / 10_000 == pytest.approx(80 / 256, abs=0.01)


def test_photographs_of_one_tile_are_for_test_together():
    decides = SETS["magnetic_tiles"].decides
    assert [decides(f"exp{n}_num_{number}") for n, number in ((1, 108719), (2, 101), (3, 85642), (4, 86031))] == [
        "10",
        "",
        "8",
        "8",
    ]
    assert SETS["msrc"].decides("10_12_s") == "10_12_s"


def test_what_belongs_into_params_is_printed(convert, capsys):
    out = convert("blood_cells")
    said = capsys.readouterr().out
    assert f"  root: {out}\n  size: [120, 120]\n  classes: [background, cytoplasm, nucleus]\n" in said


@pytest.mark.parametrize(
    ("name", "change", "error"),
    [
        ("msrc", lambda source: (source / "images").rename(source / "other"), r"from: has no images/\*\.jpg; expected"),
        (
            "msrc",
            lambda source: (source / "masks/p_30001.png").unlink(),
            r"masks/p_30001\.png: no such file; expected a mask",
        ),
        (
            "blood_cells",
            lambda source: write(source / "Dataset 1/p_10001.png", np.full((2, 3), 77, np.uint8)),
            "p_10001.png: holds",
        ),
        (
            "magnetic_tiles",
            lambda source: (source / "MT_Crack").rename(source / "MT_Odd"),
            "p_00001.png: holds a value",
        ),
    ],
)
def test_another_source_is_refused_and_nothing_is_left(name, change, error, convert, tmp_path):
    with pytest.raises(DataError, match=error):
        convert(name, change)
    assert [path.name for path in tmp_path.iterdir()] == ["from"]


def test_a_folder_that_is_there_is_kept(convert, tmp_path):
    write(tmp_path / "to/mine.png", np.zeros((2, 2), np.uint8))
    with pytest.raises(DataError, match="to: exists already; expected a new folder"):
        convert("msrc")
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["mine.png"]
