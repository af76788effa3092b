"""Scores of other images are removed, and no others."""

import hashlib
from pathlib import Path

import pytest
import yaml

from fewmask.core.errors import ConfigError
from fewmask.old_scores import remove_old_scores

IMAGES = Path("data/images.h5")


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
        stages[f"evaluate@{name}"] = {"cmd": "x", "deps": deps, "outs": [{"path": out} for out in outs]}
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    IMAGES.parent.mkdir()
    IMAGES.write_bytes(b"new")
    return tmp_path


def test_only_scores_of_other_images_go(project: Path) -> None:
    removed = remove_old_scores(IMAGES)
    assert sorted(map(str, removed)) == ["metrics/b.json", "metrics/plots/b/details"]
    kept = {str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()}
    models = {"models/a.safetensors", "models/b.safetensors"}
    assert kept == {"data/images.h5", "dvc.lock", "metrics/a.json", "metrics/plots/a/details/routes.csv"} | models
    assert remove_old_scores(IMAGES) == []


@pytest.mark.parametrize("content", ["", "[", "stages: 3", "a: 3", "<<<<<<< HEAD\n"])
def test_a_lock_that_cannot_be_read_is_one_sentence_or_nothing(project: Path, content: str) -> None:
    Path("dvc.lock").write_text(content)
    try:
        assert remove_old_scores(IMAGES) == []
    except ConfigError as error:
        assert str(error).startswith("dvc.lock: not valid YAML")
    assert Path("metrics/b.json").exists()


def test_without_a_lock_nothing_is_known_and_nothing_goes(project: Path) -> None:
    Path("dvc.lock").unlink()
    assert remove_old_scores(IMAGES) == []
