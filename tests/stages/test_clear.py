"""Scores of other images go when the images change; scores of these images stay."""

import hashlib
import json
from pathlib import Path

import yaml

from fewmask.stores.split import Split

SPLIT = Split(0, ["i000"], ["i001"], [], ["i002"], "test")


def test_it_says_what_it_removed_and_writes_whose_scores_remain(image_store, run_stage, tmp_path: Path):
    images = image_store(train=2)
    (tmp_path / "data").mkdir()
    images.rename(tmp_path / "data/images.h5")
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    (tmp_path / "data/split.json").write_text(SPLIT.dump())
    (tmp_path / "metrics").mkdir()
    digest = hashlib.md5((tmp_path / "data/images.h5").read_bytes()).hexdigest()
    stages = {}
    for name, of in (("supervised", digest), ("s4gan", "another")):
        (tmp_path / f"metrics/{name}.json").write_text("{}")
        (tmp_path / f"metrics/plots/{name}").mkdir(parents=True)
        (tmp_path / f"metrics/plots/{name}/per_class.csv").write_text("")
        deps = [{"path": "data/images.h5", "md5": of}]
        outs = [{"path": f"metrics/{name}.json"}, {"path": f"metrics/plots/{name}/per_class.csv"}]
        stages[f"evaluate@{name}"] = {"deps": deps, "outs": outs}
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))
    told = run_stage("clear")
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith("metrics: removed the scores of other images or another split (s4gan); git has those")
    assert [path.name for path in (tmp_path / "metrics").glob("**/*.*")] == ["supervised.json", "per_class.csv"]
    assert len(json.loads((tmp_path / "data/scored.json").read_text())["images"]) == 64
    assert run_stage("clear").out == ""


def test_conflicts_of_git_in_the_lock_are_one_sentence(image_store, run_stage, tmp_path: Path):
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    (tmp_path / "dvc.lock").write_text("<<<<<<< HEAD\nstages: {}\n=======\n")
    (tmp_path / "split.json").write_text(SPLIT.dump())
    told = run_stage("clear", "--images", image_store(train=2), "--split", "split.json", "--out", "scored.json")
    assert told.code == 2
    assert told.err.startswith("error: dvc.lock: not valid YAML; expected the file that DVC writes.")
    assert not (tmp_path / "scored.json").exists()


def test_a_history_alone_is_named(image_store, run_stage, tmp_path: Path):
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    (tmp_path / "split.json").write_text(SPLIT.dump())
    (tmp_path / "metrics/history").mkdir(parents=True)
    (tmp_path / "metrics/history/fit.csv").write_text("step\n")
    stage = {"deps": [{"path": "split.json", "md5": "another"}], "outs": [{"path": "metrics/history/fit.csv"}]}
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"stages": {"fit": stage}}))
    told = run_stage("clear", "--images", image_store(train=2).name, "--split", "split.json", "--out", "scored.json")
    assert (told.code, "(fit);" in told.out) == (0, True)
