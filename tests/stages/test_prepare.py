"""``python -m stages.prepare`` as a person meets it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewmask.core.errors import DataError
from fewmask.datasets.streets import streets
from fewmask.splitting import SplitConfig, make_split
from fewmask.stores.images import Images
from stages import check, prepare

Run = Callable[..., tuple[int, str, str]]
FOLDER = "dataset: {kind: folder, root: data, classes: [sky, road, car]}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images with masks, one without, two held out."""
    rng = np.random.default_rng(0)
    root = tmp_path / "data"
    for place, names in (("", "abcd"), ("validation", "v"), ("test", "t")):
        for kind in ("images", "masks"):
            (root / place / kind).mkdir(parents=True)
            for name in names:
                pixels = rng.integers(0, 256, (12, 16, 3)) if kind == "images" else rng.integers(0, 3, (12, 16))
                Image.fromarray(pixels.astype(np.uint8)).save(root / place / kind / f"{name}.png")
    (root / "unlabelled").mkdir()
    Image.fromarray(np.zeros((12, 16, 3), np.uint8)).save(root / "unlabelled" / "u.jpg")
    return root


def test_a_folder_becomes_one_store(
    folder: Path, write_params: Callable[[str], Path], run_stage: Run, tmp_path: Path
) -> None:
    write_params(FOLDER)
    code, out, err = run_stage("prepare")
    assert (code, err) == (0, "")
    assert "data/images.h5: 7 images, 3 classes" in out
    with Images(tmp_path / "data" / "images.h5") as store:
        assert dict(zip(store.ids, store.roles, strict=True)) == {
            **dict.fromkeys("abcdu", "train"),
            "v": "validation",
            "t": "test",
        }
        assert store.has_mask.tolist() == [True] * 4 + [False] + [True] * 2
        assert (store.image("b") == np.asarray(Image.open(folder / "images" / "b.png"))).all()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's folder as the working folder of stages that are called without a process of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["stage"])
    return tmp_path


@pytest.mark.parametrize(
    ("tags", "rows"),
    [
        ("tags.csv", {"a": [0, 0, 1], "u": [1, 1, 0]}),
        ("masks", {name: [1, 1, 1] for name in "abcd"}),
        ("null", {}),
    ],
)
def test_tags_come_into_the_store_and_no_tagged_image_is_lost(
    folder: Path, here: Path, write_params: Callable[[str], Path], tags: str, rows: dict[str, list[int]]
) -> None:
    """Whoever is tagged and not labelled is unlabelled, with a mask or without."""
    (folder / "tags.csv").write_text("id,class\na,car\nu,road,sky\n")
    write_params(FOLDER.replace("}", f", tags: {tags}}}"))
    prepare.main()
    with Images(here / "data/images.h5") as store:
        assert store.tagged == set(rows)
        assert {name: store.tags[store.index[name]].tolist() for name in store.tagged} == rows
        split = make_split(store, SplitConfig(labelled=1), 0)
        assert {*split.labelled, *split.unlabelled} == set("abcdu")


def test_bad_tags_are_told_with_everything_else_and_nothing_is_published(
    folder: Path,
    here: Path,
    write_params: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`check` tells of files and tags at once, and how many images have tags."""
    write_params(f"seed: 0\n{FOLDER}".replace("car]}", "car], tags: tags.csv, source: {kind: none}}"))
    monkeypatch.setattr(check, "nodes", lambda _: {})
    monkeypatch.setattr(check, "section_problems", lambda *_: [])
    monkeypatch.setattr(check, "data_problems", lambda *_: [])
    (folder / "tags.csv").write_text("a,car\nu\n")
    check.main()
    assert "tags: 2 of 5 training images\n" in capsys.readouterr().out
    (folder / "tags.csv").write_text("a,cat\nt,road\n")
    (folder / "images" / "b.png").write_text("not a picture")
    with pytest.raises(DataError) as caught:
        check.main()
    assert [line[:17] for line in str(caught.value).splitlines()] == [
        "data/tags.csv:1: ",
        "data/tags.csv:2: ",
        "data/images/b.png",
    ]
    with pytest.raises(DataError, match=r"data/tags\.csv:1: 'cat' is no class; expected a class, did you mean 'car'\?"):
        prepare.main()
    assert not (here / "data/images.h5").exists()


def test_a_target_with_tags_is_no_source_of_its_own() -> None:
    target = streets.Config(kind="streets", tags="masks")
    with pytest.raises(DataError, match="is the target itself"):
        check.require_other(streets.Config(kind="streets"), target)


def test_tags_that_change_while_the_images_are_read_are_noticed(
    folder: Path, here: Path, write_params: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC would take the new list for what the store was made from."""
    (folder / "tags.csv").write_text("a,car\n")
    write_params(FOLDER.replace("}", ", tags: tags.csv}"))
    write = prepare.write_images

    def edit(*arguments: object) -> None:
        write(*arguments)
        (folder / "tags.csv").write_text("a,sky\n")

    monkeypatch.setattr(prepare, "write_images", edit)
    with pytest.raises(DataError, match="files came, went or changed while they were read"):
        prepare.main()
    assert not (here / "data/images.h5").exists()


def test_every_bad_file_is_told_in_one_run_and_nothing_is_published(
    folder: Path, write_params: Callable[[str], Path], run_stage: Run, tmp_path: Path
) -> None:
    """Exit code 3, a line for each, a count, no traceback; the store of before stays as it was."""
    write_params(FOLDER)
    (folder / "images" / "a.png").write_bytes((folder / "images" / "a.png").read_bytes()[:60])
    (folder / "images" / "b.png").write_text("not a picture")
    (folder / "masks" / "c.png").unlink()
    Image.fromarray(np.full((12, 16), 7, np.uint8)).save(folder / "masks" / "c.png")
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(folder / "test" / "masks" / "t.png")
    Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(folder / "unlabelled" / "u.png")
    (folder / "unlabelled" / "u.jpg").unlink()
    (tmp_path / "out.h5").write_text("old")
    code, _, err = run_stage("prepare", "--out", "out.h5")
    lines = err.splitlines()
    assert code == 3
    assert [line.partition(".png")[0].rpartition("data/")[2] for line in lines[:5]] == [
        "images/a",
        "images/b",
        "masks/c",
        "unlabelled/u",
        "test/masks/t",
    ]
    assert all(line.startswith("error: data/") for line in lines[:5])
    assert "class id 7 at row 0, column 0; expected 0..2 or 255 (ignore)" in lines[2]
    assert "5x5; the images before it are 16x12. Set dataset.size" in lines[3]
    assert "mask is 8x6, its image t.png is 16x12" in lines[4]
    assert lines[5:] == ["5 problems"]
    assert (tmp_path / "out.h5").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == [".scratch", "data", "out.h5", "params.yaml"]


def test_a_working_size_brings_all_to_one(
    folder: Path, write_params: Callable[[str], Path], run_stage: Run, tmp_path: Path
) -> None:
    Image.fromarray(np.zeros((50, 50, 3), np.uint8)).save(folder / "unlabelled" / "w.png")
    write_params(FOLDER.replace("}", ", size: [6, 10]}"))
    assert run_stage("prepare", "--out", "out.h5")[0] == 0
    with Images(tmp_path / "out.h5") as store:
        assert store.size == (6, 10)


@pytest.mark.parametrize(
    ("size", "extents"), [([14, 20], {"w": (14, 14), "r": (5, 9)}), ([6, 10], {"w": (6, 6), "r": (5, 9)})]
)
def test_a_canvas_says_where_its_images_end(
    folder: Path,
    write_params: Callable[[str], Path],
    run_stage: Run,
    tmp_path: Path,
    size: list[int],
    extents: dict[str, tuple[int, int]],
) -> None:
    """Of images of 12 x 16, one of 50 x 50, and one of 9 x 5 that its EXIF orientation turns."""
    Image.fromarray(np.zeros((50, 50, 3), np.uint8)).save(folder / "unlabelled" / "w.png")
    turn = Image.Exif()
    turn[274] = 6
    Image.fromarray(np.zeros((9, 5, 3), np.uint8)).save(folder / "unlabelled" / "r.jpg", exif=turn)
    write_params(FOLDER.replace("}", f", size: {size}, fit: pad}}"))
    assert run_stage("prepare", "--out", "out.h5")[0] == 0
    with Images(tmp_path / "out.h5") as store:
        others = (12, 16) if size == [14, 20] else (6, 8)
        assert {name: store.extent(name) for name in store.ids} == {**dict.fromkeys("abcduvt", others), **extents}
        for name in "abcd":
            height, width = store.extent(name)
            assert (store.mask(name)[:height, :width] != 255).all()
            assert (store.mask(name) != 255).sum() == height * width


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("dataset: {kind: folder, root: none, classes: [a, b]}\n", 3, "error: none/images: no such folder. Fix"),
        ("dataset: {kind: streets, trian: 4}\n", 2, "error: params.yaml:1: dataset.trian: unknown key, did you mean"),
        ("datset: {}\n", 2, "error: params.yaml: key 'dataset' is missing, did you mean 'datset'?"),
    ],
)
def test_a_mistake_ends_with_its_code_and_without_a_traceback(
    write_params: Callable[[str], Path], run_stage: Run, tmp_path: Path, text: str, code: int, message: str
) -> None:
    write_params(text)
    found, _, err = run_stage("prepare", "--out", "out.h5")
    assert found == code
    assert err.startswith(message)
    assert "Traceback" not in err
    assert not (tmp_path / "out.h5").exists()


WHAT_IS_LOADED = """
import sys
from stages import prepare

def kinds(names, separator):
    parts = [name.split(separator) for name in names]
    return {part[2] for part in parts if part[1:2] == ["datasets"] and len(part) > 3}

def publish(run, *_):
    print(*sorted(kinds(run.before["code"], "/")), "|", *sorted(kinds(sys.modules, ".")))

prepare.publish = publish
prepare.main()
"""


@pytest.mark.parametrize("kind", ["streets", "folder"])
def test_the_code_of_its_kind_and_of_no_other_is_part_of_a_run(write_params: Callable[[str], Path], kind: str) -> None:
    """Another kind's file is no dependency; an edit of this one's is noticed."""
    path = write_params(FOLDER if kind == "folder" else "dataset: {kind: streets}\n")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", WHAT_IS_LOADED],
        cwd=path.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("|") == [f"base {kind} ", f" base {kind}\n"]


def test_the_same_data_make_the_same_bytes(write_params: Callable[[str], Path], run_stage: Run, tmp_path: Path) -> None:
    write_params("dataset: {kind: streets, size: [48, 64], train: 3, validation: 1, test: 1}\n")
    for name in ("a.h5", "b/c.h5"):
        assert run_stage("prepare", "--out", name)[0] == 0
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b" / "c.h5").read_bytes()
