"""A person's commands, as a person runs them: exit codes, one clear sentence, nothing half-written, kill and resume."""

import hashlib
import json
import random
import shutil
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from fewmask.checking.presets import read_preset
from fewmask.stores.labels import Labels
from tests.forks import StageProcess

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "seed": 0,
    "dataset": {
        "kind": "streets",
        "root": "params.yaml",
        "size": [48, 64],
        "train": 10,
        "validation": 3,
        "test": 3,
        "seed": 0,
        "source": {"kind": "none", "root": "params.yaml", "size": None},
    },
    "split": {"labelled": 5, "cover": 0},
    "network": {"name": "dsnet", "width": 0.25, "blocks": [1, 1, 1, 1]},
    "supervised": {"steps": 30, "batch": 2, "optimiser": {"name": "adamw", "lr": 0.01}},
    "consistency": {"steps": 4, "batch": 2, "unlabelled": 2, "optimiser": {"name": "adamw", "lr": 0.01}},
    "auxiliary": {
        "network": {"steps": 4, "batch": 2, "network": {"width": 0.1}, "optimiser": {"name": "adam", "lr": 0.001}},
        "retrain": {},
        "confidence": "auxiliary",
    },
    "three_stage": {
        "recipe": {
            "steps": 4,
            "batch": 2,
            "unlabelled": 2,
            "batch_norm": "trained",
            "optimiser": {"name": "adamw", "lr": 0.01},
        },
        "stage_2": {"branch": {"own_blocks": 2}},
        "stage_3": {},
    },
    "contrastive": {
        "steps": 4,
        "batch": 2,
        "unlabelled": 2,
        "batch_norm": "trained",
        "begin_with": "supervised",
        "warm_up": 0,
        "optimiser": {"name": "adamw", "lr": 0.01},
        "contrast": {"channels": 8, "memory": 8, "confidence": 0.1},
    },
    "s4gan": {
        "steps": 4,
        "batch": 2,
        "unlabelled": 2,
        "batch_norm": "trained",
        "begin_with": "supervised",
        "discriminator": {"width": 0.1},
        "optimiser": {"name": "adamw", "lr": 0.01},
    },
    "mlmt": {
        "size": None,
        "steps": 4,
        "batch": 2,
        "unlabelled": 2,
        "begin_with": "supervised",
        "optimiser": {"name": "adamw", "lr": 0.01},
    },
    "selene": {
        "network": {"name": "routing", "layers": 3, "channels": 4},
        "steps": 4,
        "batch": 2,
        "unlabelled": 2,
        "optimiser": {"name": "adamw", "lr": 0.01},
    },
    "fusion": {"pixels": [10, 100]},
    "filter": {"threshold": 0.5},
    "evaluate": {},
    "runtime": {"device": "cpu", "threads": 1},
}
FIT = "--learner supervised.Supervised --section supervised --out models/m.safetensors --history h.csv"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with params, images and a split."""
    folder = tmp_path_factory.mktemp("prepared")
    write(folder, SMALL)
    for name in ("prepare", "split"):
        assert StageProcess([name], folder).finish().code == 0
    return folder


@pytest.fixture
def workplace(tmp_path, prepared):
    """A copy of it."""
    return shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)


def write(folder: Path, params: dict) -> None:
    with (folder / "params.yaml").open("w") as file:
        YAML().dump(params, file)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_confidence_of_labels_is_the_judge_s_or_the_largest_probability(workplace, run_stage):
    """``auxiliary.confidence: probability`` is the auxiliary network's control: nothing else differs."""
    judge = "--learner auxiliary.AuxiliaryNetwork --section auxiliary.network --out models/a.safetensors"
    assert run_stage("fit", *FIT.split()).code == 0
    assert run_stage("fit", *judge.split(), "--base", "models/m.safetensors").code == 0
    judged = ("--model", "models/m.safetensors", "--confidence", "models/a.safetensors")
    for how in ("auxiliary", "probability"):
        write(workplace, SMALL | {"auxiliary": {**SMALL["auxiliary"], "confidence": how}})
        assert run_stage("label", *judged, "--out", f"data/labels/{how}.h5").code == 0
    assert run_stage("label", *judged[:2], "--out", "data/labels/plain.h5").code == 0
    with ExitStack() as stack:
        stores = (Labels(workplace / f"data/labels/{name}.h5") for name in ("auxiliary", "probability", "plain"))
        found, control, plain = ([(i.label, i.code) for i in stack.enter_context(store)] for store in stores)
    assert all(np.array_equal(*pair) for pair in zip(control, plain, strict=True))
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(found, plain, strict=True))
    assert not all(np.array_equal(a[1], b[1]) for a, b in zip(found, plain, strict=True))


def test_train_label_predict_and_refuse_missing_and_damaged_inputs(workplace, run_stage):
    """One life of a model; an input that is missing or damaged leaves the published model as it was."""
    whole = run_stage("fit", *FIT.split())
    assert whole.code == 0, whole.err
    model = workplace / "models/m.safetensors"
    expected = digest(model)
    assert run_stage("label", "--model", model, "--out", "data/labels/m.h5").code == 0

    missing = run_stage("fit", *FIT.split(), "--join", "data/labels/none.h5")
    assert (missing.code, "Traceback" in missing.err) == (3, False)
    assert "data/labels/none.h5: no such file" in missing.err
    assert digest(model) == expected

    store = workplace / "data/labels/m.h5"
    data = bytearray(store.read_bytes())
    data[len(data) // 2 :: 997] = bytes(len(data[len(data) // 2 :: 997]))
    (workplace / "data/labels/damaged.h5").write_bytes(data)
    damaged = run_stage("fit", *FIT.split(), "--join", "data/labels/damaged.h5")
    assert damaged.code == 4
    assert "data/labels/damaged.h5" in damaged.err

    pictures = workplace / "pictures"
    pictures.mkdir()
    for name, size in (("wide", (90, 40)), ("small", (20, 30))):
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size[::-1], 3), np.uint8)).save(
            pictures / f"{name}.png"
        )
    (pictures / "broken.jpg").write_text("no")
    told = run_stage("predict", "--model", model, "--images", pictures, "--out", "masks", "--overlay", "--confidence")
    assert told.code == 3
    assert "broken.jpg: not an image" in told.err
    mask = Image.open(workplace / "masks/wide.png")
    assert (mask.mode, mask.size) == ("P", (90, 40))
    assert np.asarray(mask).max() < 10
    assert len(list((workplace / "masks").iterdir())) == 6


STAGE_2 = "--learner three_stage.ThreeStage --section three_stage.recipe three_stage.stage_2"
STAGE_2 += " --out models/s2.safetensors --history s2.csv"


def test_stage_2_learns_from_a_store_and_refuses_one_of_another_split(workplace, run_stage):
    """Whatever is wrong with --labels is said before the first step, and nothing is written."""
    assert run_stage("fit", *FIT.split()).code == 0
    assert run_stage("label", "--model", "models/m.safetensors", "--out", "data/labels/m.h5").code == 0
    params = {**SMALL, "seed": 1}
    write(workplace, params)
    assert run_stage("split").code == 0
    other = run_stage("fit", *STAGE_2.split(), "--labels", "data/labels/m.h5")
    assert (other.code, other.err.count("\n")) == (4, 1)
    assert "data/labels/m.h5: labelled by a network of another split" in other.err
    missing = run_stage("fit", *STAGE_2.split(), "--labels", "data/labels/none.h5")
    assert "data/labels/none.h5: no such file" in missing.err
    without = run_stage("fit", *STAGE_2.split())
    assert (without.code, "Traceback" in without.err) == (2, False)
    assert "--labels" in without.err
    assert not list((workplace / "models").glob("s2*"))

    write(workplace, SMALL)
    assert run_stage("split").code == 0
    done = run_stage("fit", *STAGE_2.split(), "--labels", "data/labels/m.h5")
    assert done.code == 0, done.err
    assert "con" in done.out + done.err
    assert (workplace / "s2.csv").read_text().startswith("step,rate,loss,seg,con,pl\n")


def test_kill_and_resume_gives_the_same_bytes(workplace, run_stage, start_stage):
    often = {**SMALL["runtime"], "checkpoint_seconds": 0.01}
    write(workplace, {**SMALL, "supervised": {**SMALL["supervised"], "steps": 100}, "runtime": often})
    assert run_stage("fit", *FIT.split()).code == 0
    model, history = workplace / "models/m.safetensors", workplace / "h.csv"
    expected = digest(model), digest(history)
    model.unlink(), history.unlink()
    rng, kills = random.Random(1), 0
    for _ in range(2):
        process = start_stage("fit", *FIT.split())
        begin = time.monotonic()
        while not list(workplace.glob(".scratch/*/step-*.pt")) and process.runs() and time.monotonic() - begin < 30:
            time.sleep(0.02)
        time.sleep(rng.random() * 0.3)
        kills += process.runs()
        process.signal(signal.SIGKILL)
        process.finish()
    last = run_stage("fit", *FIT.split())
    assert last.code == 0, last.err
    assert kills
    assert "goes on from step" in last.out
    assert (digest(model), digest(history)) == expected
    assert not [path for path in workplace.glob(".scratch/*") if path.name != "locks"]
    assert not list(workplace.rglob("*.tmp"))


def test_equal_work_in_another_folder_at_another_time_gives_equal_bytes(workplace, run_stage):
    other = workplace / "other"
    shutil.copytree(workplace / "data", other / "data", copy_function=shutil.copyfile)
    shutil.copyfile(workplace / "params.yaml", other / "params.yaml")
    digests = []
    for folder in (workplace, other):
        stores = [
            "--params",
            folder / "params.yaml",
            "--images",
            folder / "data/images.h5",
            "--split",
            folder / "data/split.json",
        ]
        model, history, labels = folder / "m.safetensors", folder / "h.csv", folder / "l.h5"
        fit = ["fit", *FIT.split()[:4], *stores, "--out", model, "--history", history]
        assert run_stage(*fit).code == 0
        assert run_stage("label", *stores, "--model", model, "--out", labels).code == 0
        digests.append([digest(path) for path in (model, history, labels)])
    assert digests[0] == digests[1]


def test_keeping_nothing_retrains_exactly_the_supervised_network(workplace, run_stage):
    assert run_stage("fit", *FIT.split()).code == 0
    run_stage("label", "--model", "models/m.safetensors", "--out", "data/labels/m.h5")
    write(workplace, {**SMALL, "filter": {"threshold": 1.0}})
    options = "--labels data/labels/m.h5 --out data/labels/f.h5 --metrics s.json --plots plots"
    kept = run_stage("filter", *options.split())
    assert kept.code == 0
    assert "0 pixels kept" in kept.err
    assert json.loads((workplace / "s.json").read_text())["miou"] is None
    again = FIT.replace("models/m.", "models/joined.").split()
    assert run_stage("fit", *again, "--join", "data/labels/f.h5").code == 0
    from fewmask.nets.base.published import load_model

    digests = [load_model(workplace / f"models/{name}.safetensors").digest for name in ("m", "joined")]
    assert digests[0] == digests[1]


def test_the_masks_of_unlabelled_images_are_never_read(workplace, run_stage, edited):
    """Poison them: the model keeps exactly its weights."""
    from fewmask.nets.base.published import load_model
    from fewmask.stores.hdf5 import crc

    split = json.loads((workplace / "data/split.json").read_text())
    assert run_stage("fit", *FIT.split()).code == 0
    before = load_model(workplace / "models/m.safetensors").digest
    with edited(workplace / "data/images.h5") as file:
        ids = list(file["id"].asstr()[:])
        for name in split["unlabelled"]:
            number = ids.index(name)
            mask = np.full(file["mask"].shape[1:], 3, np.uint8)
            file["mask"][number] = mask
            file["crc32"][number, 1] = crc(name, mask)
    assert run_stage("fit", *FIT.split()).code == 0
    assert load_model(workplace / "models/m.safetensors").digest == before


def test_training_that_explodes_ends_with_code_6(workplace, run_stage):
    params = {**SMALL, "supervised": {"steps": 30, "batch": 2, "optimiser": {"name": "sgd", "lr": 1e12}}}
    write(workplace, params)
    ended = run_stage("fit", *FIT.split())
    assert ended.code == 6
    assert "net is not finite (loss" in ended.err
    assert not (workplace / "models/m.safetensors").exists()


MISTAKES = [  # each run of `check` is told several
    {
        "supervised": ({"steps": 5, "batch": 2, "optimizer": {"lr": 0.1}}, "did you mean 'optimiser'"),
        "dataset": ({"kind": "folder", "root": "nowhere", "classes": ["a", "b"]}, "nowhere/images: no such folder"),
        "filter": ({"threshold": "high"}, "filter.threshold: found 'high'"),
        "sed": (3, "did you mean 'seed'"),
        "seed": (-1, "seed: found -1"),
        "runtime": ({"device": "gpu9"}, "runtime.device: 'gpu9'"),
    },
    {
        "network": ({"name": "dsnett"}, "did you mean 'dsnet'"),
        "selene": ({**SMALL["selene"], "network": {"name": "rooting"}}, "selene.network.name: found 'rooting'"),
        "split": ({"labelled": 500}, "split.labelled: 500 asks for 500 images; expected 1..10"),
        "filter": ({"threshold": 0.5, "per_class": {"raod": 0.9}}, "filter.per_class: found ['raod']"),
    },
    {"split": ({"labelled": "ids.txt"}, "ids.txt: no such file")},
    {
        "dataset": (
            {**SMALL["dataset"], "root": "pipeline/datasets/streets.py"},
            "Write 'root: pipeline/datasets/streets'",
        )
    },
    {"network": ({**SMALL["network"], "weights": "none.pt"}, "'none.pt': no such file")},
    {"mlmt": ({k: v for k, v in SMALL["mlmt"].items() if k != "size"}, "Write 'size: null' into mlmt")},
    {"seed": ("0", "seed: found '0'; expected: a valid integer")},
    {"supervised": ({**SMALL["supervised"], "pseudo": 2}, "pseudo 2 is not below batch 2")},
    {"supervised": ({**SMALL["supervised"], "source": 0.5}, "supervised is given no --source in dvc.yaml")},
    {
        "dataset": (
            {**SMALL["dataset"], "source": {"kind": "camvid", "root": ".", "size": None}},
            "only in the source: pavement",
        )
    },
    {
        "mlmt": (
            {**SMALL["mlmt"], "begin_with": "weights", "encoder": {"encoder": "resnet18", "weights": "none.pt"}},
            "mlmt.encoder.weights: 'no",
        ),
        "fusion": ({"rule": "pixels"}, "fusion.rule: pixels is chosen on the validation images, which have no"),
        "dataset": ({**SMALL["dataset"], "validation": 0}, "fusion.rule"),
        "split": ({**SMALL["split"], "validation": 0}, "fusion.rule"),
    },
    {
        "split": (
            {"labelled": 10},
            "no unlabelled image; expected some for consistency, contrastive, s4gan, mlmt, selene. Add images",
        )
    },
]


@pytest.mark.parametrize("mistakes", MISTAKES, ids=lambda mistakes: " ".join(mistakes))
def test_check_names_every_problem(tmp_path, run_stage, mistakes):
    write(tmp_path, {**SMALL, **{section: value for section, (value, _) in mistakes.items()}})
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    told = run_stage("check")
    assert told.code == 3
    for _, expected in mistakes.values():
        assert expected in told.err
    assert "Traceback" not in told.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dvc.yaml", "params.yaml"]


def test_check_reads_the_source_domain_too(tmp_path, run_stage):
    """A training that wants one where there is none is told of it, whatever the graph hands it."""
    source = {"kind": "streets", "root": "params.yaml", "look": "game", "train": 4, "size": [48, 64]}
    write(tmp_path, {**SMALL, "dataset": {**SMALL["dataset"], "source": source}})
    graph = (ROOT / "dvc.yaml").read_text()
    (tmp_path / "dvc.yaml").write_text(
        graph.replace("--section supervised --out", "--section supervised --source x.h5 --out")
    )
    assert "source train: 4 images, 4 with masks" in run_stage("check").out
    write(tmp_path, {**SMALL, "supervised": {**SMALL["supervised"], "source": 0.5}})
    told = run_stage("check")
    assert told.code == 3
    assert "source: 0.5 of the steps, but dataset.source.kind is none; expected a labelled data set" in told.err


def test_check_takes_labelled_images_for_unlabelled_ones_and_reads_no_weights(tmp_path, run_stage):
    methods = ("consistency", "contrastive", "s4gan", "mlmt", "selene")
    everyone = {name: {**SMALL[name], "unlabelled_pool": "all"} for name in methods}
    encoder = {"encoder": "resnet18", "output_stride": 32, "weights": "params.yaml"}
    everyone["mlmt"] |= {"begin_with": "weights", "encoder": encoder}
    write(tmp_path, {**SMALL, **everyone, "split": {"labelled": 10}})
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    told = run_stage("check")
    assert "split: 10 labelled, 0 unlabelled" in told.out
    assert told.code == 0, told.err


def test_check_is_content_with_the_default(tmp_path, run_stage):
    write(tmp_path, SMALL)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    told = run_stage("check")
    assert told.code == 0, told.err
    assert "train: 10 images, 10 with masks" in told.out


def test_preset_keeps_a_person_s_edits(tmp_path, run_stage):
    params = tmp_path / "params.yaml"
    assert run_stage("preset", "camvid").code == 0
    assert params.read_text() == read_preset("camvid")
    assert run_stage("preset", "streets").code == 0  # a preset is no loss
    params.write_text(params.read_text() + "# mine\n")
    refused = run_stage("preset", "camvid")
    assert refused.code == 2
    assert "has edits that are not committed" in refused.err
    assert params.read_text().endswith("# mine\n")
    assert run_stage("preset", "camvid", "--force").code == 0
    assert "did you mean 'camvid'" in run_stage("preset", "camvit").err


def test_a_model_of_other_classes_is_refused(workplace, run_stage, tmp_path):
    assert run_stage("fit", *FIT.split()).code == 0
    write(workplace, {**SMALL, "dataset": {**SMALL["dataset"], "size": [60, 80]}})
    assert run_stage("prepare").code == 0
    told = run_stage("label", "--model", "models/m.safetensors", "--out", "data/labels/m.h5")
    assert told.code == 4
    assert "was trained on classes" in told.err
    assert not (workplace / "data/labels/m.h5").exists()
