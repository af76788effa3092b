"""Scores of other images are removed, and no others."""

import hashlib
from pathlib import Path

import pytest
import yaml

from fewmask.core.errors import ConfigError
from fewmask.old_scores import remove_old_scores

IMAGES, SPLIT = Path("data/images.h5"), Path("data/split.json")
INPUTS = (IMAGES, SPLIT)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``evaluate@a`` was scored on the images at hand, ``evaluate@b`` on others."""
    monkeypatch.chdir(tmp_path)
    digests = {"a": hashlib.md5(b"new").hexdigest(), "b": hashlib.md5(b"old").hexdigest()}
    stages = {}
    for name, digest in digests.items():
        for file in (f"metrics/{name}.json", f"metrics/plots/{name}/details/routes.csv", f"models/{name}.safetensors"):
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            Path(file).write_text(name)
        outs = [f"metrics/{name}.json", f"metrics/plots/{name}/details", f"models/{name}.safetensors"]
        deps = [{"path": "data/images.h5", "md5": digest}, {"path": "stages/evaluate.py", "md5": "0"}]
        deps.append({"path": "data/split.json", "md5": hashlib.md5(b"split").hexdigest()})
        stages[f"evaluate@{name}"] = {"cmd": "x", "deps": deps, "outs": [{"path": out} for out in outs]}
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    IMAGES.parent.mkdir()
    IMAGES.write_bytes(b"new")
    SPLIT.write_bytes(b"split")
    return tmp_path


def test_only_scores_of_other_images_go(project: Path) -> None:
    removed = remove_old_scores(INPUTS)
    assert sorted(map(str, removed)) == ["metrics/b.json", "metrics/plots/b/details"]
    kept = {str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()}
    models = {"models/a.safetensors", "models/b.safetensors"}
    assert (
        kept
        == {"data/images.h5", "data/split.json", "dvc.lock", "metrics/a.json", "metrics/plots/a/details/routes.csv"}
        | models
    )
    assert remove_old_scores(INPUTS) == []


def test_scores_of_another_split_go_too(project: Path) -> None:
    """Its evaluated images are others, and so may its labelled ones be."""
    SPLIT.write_bytes(b"of another seed")
    assert Path("metrics/a.json") in remove_old_scores(INPUTS)


def test_nothing_outside_metrics_goes_whatever_the_lock_says(project: Path) -> None:
    Path("README.md").write_text("kept")
    outs = [{"path": path} for path in ("metrics/../README.md", "README.md", ".", str(project / "README.md"))]
    stage = {"deps": [{"path": "data/images.h5", "md5": "old"}], "outs": outs}
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": {"evaluate@c": stage}}))
    assert remove_old_scores(INPUTS) == []
    assert Path("README.md").read_text() == "kept"


ODD = ["", "[", "stages: 3", "a: 3", "<<<<<<< HEAD\n", "stages: {a: {deps: [data/images.h5], outs: 3}}"]
ODD += ["stages: {a: {deps: [{path: data/images.h5, md5: x}], outs: [3, {path: 4}]}}"]


@pytest.mark.parametrize("content", ODD)
def test_a_lock_that_cannot_be_read_is_one_sentence_or_nothing(project: Path, content: str) -> None:
    Path("dvc.lock").write_text(content)
    try:
        assert remove_old_scores(INPUTS) == []
    except ConfigError as error:
        assert str(error).startswith("dvc.lock: not valid YAML")
    assert Path("metrics/b.json").exists()


def test_without_a_lock_nothing_is_known_and_nothing_goes(project: Path) -> None:
    Path("dvc.lock").unlink()
    assert remove_old_scores(INPUTS) == []
