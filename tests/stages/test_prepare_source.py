"""``python -m stages.prepare --section dataset.source --like images.h5``: the labelled images of another domain."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewmask.stores.images import Images

Run = Callable[..., tuple[int, str, str]]
SOURCE = ("prepare", "--section", "dataset.source", "--like", "images.h5", "--out", "source.h5")
TARGET = "kind: streets, size: [24, 32], train: 2, validation: 1, test: 1"
CLASSES = "sky, building, pole, road, sidewalk, vegetation, sign, car, pedestrian, marking"


@pytest.fixture
def prepare_both(write_params: Callable[[str], Path], run_stage: Run) -> Callable[[str], tuple[int, str, str]]:
    """``prepare_both("kind: none")`` prepares drawn scenes and then this source -> the second outcome."""

    def run(source: str) -> tuple[int, str, str]:
        write_params(f"dataset: {{{TARGET}, source: {{{source}}}}}\n")
        assert run_stage("prepare", "--out", "images.h5")[0] == 0
        return run_stage(*SOURCE)

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two training images with masks, one without, one to validate on."""
    pixels = np.random.default_rng(0).integers(0, 10, (12, 16), np.uint8)
    for place, names in (("", "ab"), ("validation", "v")):
        for name in names:
            for kind, array in (("images", np.stack([25 * pixels] * 3, 2)), ("masks", pixels)):
                path = tmp_path / "data" / place / kind / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    (tmp_path / "data/unlabelled").mkdir()
    Image.fromarray(np.zeros((12, 16, 3), np.uint8)).save(tmp_path / "data/unlabelled/u.png")
    return tmp_path / "data"


def test_none_is_an_empty_store_with_the_target_s_classes(
    prepare_both: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    code, out, err = prepare_both("kind: none")
    assert (code, err) == (0, "")
    assert "source.h5: no images, as the kind of dataset.source is none" in out
    with Images(tmp_path / "source.h5") as source, Images(tmp_path / "images.h5") as target:
        assert source.ids == []
        assert (source.class_names, source.colours, source.size) == (target.class_names, target.colours, target.size)


def test_all_images_with_masks_are_used_whatever_their_role(
    prepare_both: Callable[..., tuple[int, str, str]], folder: Path, tmp_path: Path
) -> None:
    code, out, _ = prepare_both(f"kind: folder, root: data, classes: [{CLASSES}]")
    assert code == 0, out
    with Images(tmp_path / "source.h5") as source:
        assert source.ids == ["a", "b", "v"]
        assert source.size == (12, 16)
        assert (source.mask("a") == np.asarray(Image.open(folder / "masks/a.png"))).all()


def test_of_drawn_scenes_those_for_training_are_used(
    prepare_both: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    assert prepare_both("kind: streets, size: [24, 32], train: 3, seed: 5")[0] == 0
    with Images(tmp_path / "source.h5") as source:
        assert source.roles == ["train"] * 3


def test_a_source_leaves_the_target_s_bytes_alone(
    prepare_both: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    stores = []
    for source in ("kind: none", "kind: streets, size: [24, 32], train: 3, look: game"):
        assert prepare_both(source)[0] == 0
        stores.append((tmp_path / "images.h5").read_bytes())
    assert stores[0] == stores[1]


def test_other_classes_are_refused_by_name(prepare_both: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, _, err = prepare_both("kind: camvid, root: nowhere")
    assert code == 3
    assert err.startswith(
        "error: dataset.source: only in the source: pavement, tree, fence, bicyclist; only in the target"
    )
    assert "sidewalk, vegetation, marking; expected the same classes in the same order. Choose" in err
    assert not (tmp_path / "source.h5").exists()


def test_a_mistake_names_the_source_s_keys(
    prepare_both: Callable[..., tuple[int, str, str]], folder: Path, tmp_path: Path
) -> None:
    Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(folder / "images/a.png")
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(folder / "masks/a.png")
    code, _, err = prepare_both(f"kind: folder, root: data, classes: [{CLASSES}]")
    assert code == 3
    assert "Set dataset.source.size: [height, width]" in err
    code, _, err = prepare_both(f"kind: folder, root: my/dataset.size, classes: [{CLASSES}]")
    assert err.startswith(
        "error: my/dataset.size/images: no such folder. Fix the path (dataset.source.root in params.yaml"
    )
    (tmp_path / "data/masks").rename(tmp_path / "elsewhere")
    (tmp_path / "data/masks").mkdir()
    (tmp_path / "data/validation").rename(tmp_path / "gone")
    code, _, err = prepare_both(f"kind: folder, root: data, classes: [{CLASSES}]")
    assert err == (
        "error: dataset.source: none of its 3 images has a mask; expected a labelled data set. "
        "Add masks, or set kind: none.\n"
    )


def test_a_source_inside_a_source_is_refused(write_params: Callable[[str], Path], run_stage: Run) -> None:
    write_params(f"dataset: {{{TARGET}, source: {{kind: streets, source: {{kind: none}}}}}}\n")
    assert run_stage("prepare", "--out", "images.h5").code == 0
    code, _, err = run_stage(*SOURCE)
    assert code == 2
    assert err.startswith("error: params.yaml:1: dataset.source: found a source inside a source")


def test_a_source_that_is_the_target_is_refused(
    prepare_both: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    """Its masks are all learned, and some of the target's are held out."""
    code, _, err = prepare_both("kind: streets, size: [24, 32], train: 2")
    assert (code, err.count("\n")) == (3, 1)
    assert "dataset.source: image 'street_00000' is the target's, too" in err
    assert not (tmp_path / "source.h5").exists()
    for other in ("seed: 1", "look: game"):
        assert prepare_both(f"kind: streets, size: [24, 32], train: 2, {other}")[0] == 0
