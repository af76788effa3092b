"""``python -m stages.evaluate`` and ``stages.predict``, with a tagger or a routing network: numbers and pictures."""

import csv
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewmask.core.errors import ConfigError, UserError
from fewmask.methods.mlmt import tagger
from fewmask.nets.base.published import Header, build, save_model
from fewmask.nets.dsnet.dsnet import Config
from fewmask.nets.routing import routing
from fewmask.nets.routing.routing import encoder_of
from fewmask.prediction.fusion import FusedPredictor
from fewmask.prediction.predictor import Predictor
from fewmask.reporting.results import read_routes
from fewmask.stores.images import Images
from stages import evaluate, predict

SMALL = Config(width=0.25, blocks=[1, 1, 1, 1])
TAGGER = tagger.Config(network=SMALL.model_dump())
GATED = routing.Config(layers=3, channels=4)
CLASSES = ["sky", "road", "car"]
SIZE = (32, 48)
ROLES = ["train", "validation", "test"]
FUSED = ("--tagger", "tagger.safetensors")
ROUTED = ("--model", "gated.safetensors")


@pytest.fixture
def project(tmp_path: Path, image_store, image_rows, write_params, monkeypatch) -> Iterator[Callable[..., Path]]:
    """``project(fusion="rule: pixels", validation=2)``: params, stores and the models in the working folder.

    The tagger says that every image has sky and car, and no road. Images are of four contrasts, and differ in the gates
    that they open.
    """
    monkeypatch.chdir(tmp_path)

    def publish(name: str, section, bias: list[float] | None = None) -> None:
        torch.manual_seed(0)
        net = build(section, 3)
        if bias:
            net.classify.weight.data.zero_()
            net.classify.bias.data = torch.tensor(bias)
        for cell in encoder_of(net).cells() if encoder_of(net) else []:
            cell.gate.decide.weight.data.normal_(0, 30)
            cell.gate.decide.bias.data.normal_(0, 1)
        header = Header(section.model_dump(), CLASSES, [[0, 0, 0]] * 3, [0.5] * 3, [0.2] * 3, list(SIZE), {}, {})
        save_model(tmp_path / f"{name}.safetensors", net, header)

    def make(fusion: str = "tau: 0.2", validation: int = 3, scoring: str = "") -> Path:
        rows = image_rows(train=2, validation=validation, test=4, size=SIZE)
        store = image_store(rows=[(*row[:2], row[2] // (1 + number % 4), row[3]) for number, row in enumerate(rows)])
        write_params(f"seed: 3\nevaluate: {{{scoring}}}\nfusion: {{{fusion}}}\nruntime: {{device: cpu, threads: 1}}\n")
        with Images(store) as images:
            by_role = {role: [i for i, r in zip(images.ids, images.roles, strict=True) if r == role] for role in ROLES}
        split = {"schema": "fewmask-split", "schema_version": 1, "seed": 3, "evaluated": "test", "warnings": []}
        split |= {"labelled": by_role["train"], "unlabelled": []}
        (tmp_path / "split.json").write_text(json.dumps(split | {role: by_role[role] for role in ROLES[1:]}))
        publish("net", SMALL)
        publish("gated", GATED)
        publish("tagger", TAGGER, [9.0, -9.0, 9.0])
        return tmp_path

    threads = torch.get_num_threads()
    yield make
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def run(monkeypatch, stage, *words: str) -> None:
    """A stage's command line in this process."""
    monkeypatch.setattr(sys, "argv", ["stage", *words])
    stage.main()


def scored(monkeypatch, name: str, *words: str) -> dict:
    """metrics/NAME.json of a run of evaluate."""
    stores = ("--images", "images.h5", "--split", "split.json", "--model", "net.safetensors")
    run(monkeypatch, evaluate, *stores, "--out", f"{name}.json", "--plots", name, *words)
    return json.loads(Path(f"{name}.json").read_text())


def table(name: str) -> dict[str, dict[str, str]]:
    return {row.pop("class"): row for row in csv.DictReader(Path(name, "details/fusion.csv").read_text().splitlines())}


def test_a_fused_prediction_is_scored(project, monkeypatch) -> None:
    folder = project()
    alone, fused = scored(monkeypatch, "alone"), scored(monkeypatch, "fused", *FUSED)
    assert alone.keys() == fused.keys()
    assert not Path("alone/details/fusion.csv").exists()
    nets = Predictor(folder / "net.safetensors"), FusedPredictor(folder / "net.safetensors", folder / FUSED[1])
    sizes = [sum(p.numel() for p in net.parameters()) for net in nets[1].networks]
    assert (alone["parameters"], fused["parameters"]) == (sizes[0], sum(sizes))
    assert fused["gmacs"] > alone["gmacs"]
    pairs = list(csv.DictReader(Path("fused/confusion.csv").read_text().splitlines()))
    assert sum(int(row["pixels"]) for row in pairs if row["predicted"] == "road") == 0
    with Images(folder / "images.h5") as images:
        labels = nets[1](images.stack(images.ids[5:]))[0].numpy()
        assert (np.asarray(Image.open("fused/details/examples.png")) == np.concatenate(labels)).all()
        having = sum((images.mask(name) == 1).any() for name in images.ids[5:])
    assert list(table("fused")) == CLASSES
    assert {**table("fused")["road"], "average_precision": ""} == {
        "threshold": "0.2",
        "images": str(having),
        "dropped": "4",
        "wrongly_dropped": str(having),
        "average_precision": "",
    }
    assert [row["dropped"] for row in table("fused").values()] == ["0", "4", "0"]


def test_pixels_are_chosen_on_the_validation_images_whatever_is_scored(project, monkeypatch) -> None:
    folder = project("rule: pixels_per_class, pixels: [100, 400, 900]")
    metrics = scored(monkeypatch, "fused", *FUSED)
    assert metrics["parameters"] == scored(monkeypatch, "alone")["parameters"]
    before = [row["threshold"] for row in table("fused").values()]
    with Images(folder / "images.h5") as images:
        seen = []
        monkeypatch.setattr(Predictor, "logits", watched(Predictor.logits, seen))
        scored(monkeypatch, "again", *FUSED)
        validation, test = images.stack(images.ids[2:5]), images.stack(images.ids[5:])
    assert [len(batch) for batch in seen] == [3, 4]
    assert (seen[0] == validation).all()
    assert (seen[1] == test).all()
    assert [row["threshold"] for row in table("again").values()] == before
    assert set(before) <= {"0", "100", "400", "900"}


def watched(method, seen: list):
    def logits(self, images):
        seen.append(images)
        return method(self, images)

    return logits


def test_a_rule_of_pixels_without_validation_images_is_refused(project, monkeypatch) -> None:
    project("rule: pixels", validation=0)
    with pytest.raises(ConfigError, match=r"fusion\.rule: pixels is chosen on the validation images"):
        scored(monkeypatch, "fused", *FUSED)
    assert not Path("fused.json").exists()
    project(validation=0)
    assert scored(monkeypatch, "fused", *FUSED)["images"] == 4


def test_a_folder_is_predicted_without_the_classes_that_the_tagger_does_not_see(project, monkeypatch) -> None:
    project()
    Path("photos").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)).save("photos/a.png")
    words = ("--model", "net.safetensors", "--images", "photos")
    run(monkeypatch, predict, *words, "--out", "alone")
    run(monkeypatch, predict, *words, "--out", "fused", *FUSED, "--confidence", "--overlay")
    run(monkeypatch, predict, *words, "--out", "all", *FUSED, "--tau", "0")
    masks = {name: np.asarray(Image.open(f"{name}/a.png")) for name in ("alone", "fused", "all")}
    assert (masks["all"] == masks["alone"]).all()
    assert 1 in masks["alone"] and 1 not in masks["fused"]
    assert len(list(Path("fused").iterdir())) == 3


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ((*FUSED, "--tau", "1.5"), r"^--tau: found 1\.5; expected a threshold on scores, a number in 0\.\.1\.$"),
        ((*FUSED, "--tau", "nan"), "^--tau: found nan"),
        (("--tau", "0.5"), "^--tau: is a threshold on the scores of a tagger; name its file with --tagger"),
        (("--tagger", "net.safetensors"), "holds the network 'dsnet'; expected a tagger"),
        (("--tagger", "none.safetensors"), "none.safetensors: no such model file"),
    ],
)
def test_a_tagger_that_makes_no_sense_is_one_sentence(project, monkeypatch, words, match) -> None:
    project()
    with pytest.raises(UserError, match=match):
        run(monkeypatch, predict, "--model", "net.safetensors", "--images", "photos", "--out", "masks", *words)


def test_the_ways_of_a_routing_network_are_written_and_drawn(project, monkeypatch) -> None:
    """Mean gates of the evaluated images, as the report reads them; their cost is in the metrics."""
    folder = project()
    metrics = scored(monkeypatch, "routed", *ROUTED)
    assert metrics["gmacs_min"] < metrics["gmacs_mean"] < metrics["gmacs_max"] <= metrics["gmacs"]
    predictor = Predictor(folder / "gated.safetensors")
    with Images(folder / "images.h5") as images, torch.no_grad():
        x = predictor.normalise(torch.from_numpy(images.stack(images.ids[5:])))
        gates = predictor.model.net.features(x)[-1].gates
    table = read_routes(Path("routed/details/routes.csv"))
    assert [row["keep"] for row in table] == pytest.approx(gates[..., 0].mean(0).tolist(), abs=1e-5)
    assert [row["open"] for row in table] == (gates > 0).any(2).float().mean(0).tolist()
    picture = Path("routed/details/routes.svg").read_text()
    assert picture.count("<line") == 2 + 2 + 3 + 2 + 3 + 3


def test_a_network_without_gates_has_no_ways(project, monkeypatch) -> None:
    project()
    metrics = scored(monkeypatch, "plain", "--model", "net.safetensors")
    assert len({metrics[key] for key in ("gmacs_min", "gmacs_mean", "gmacs_max", "gmacs")}) == 1
    assert [path.name for path in Path("plain/details").iterdir()] == ["examples.png"]


def test_the_resolution_changes_what_an_image_costs_and_nothing_else(project, monkeypatch) -> None:
    """Four times the pixels of the working size, padded to 32 x 64, and less of them at the border."""
    project()
    before = scored(monkeypatch, "before", *ROUTED)
    written = {path.name: path.read_bytes() for path in Path("before").rglob("*.*")}
    project(scoring="resolution: [64, 128]")
    after = scored(monkeypatch, "after", *ROUTED)
    assert {key for key in after if after[key] != before[key]} == {"gmacs", "gmacs_min", "gmacs_mean", "gmacs_max"}
    assert 4 < after["gmacs"] / before["gmacs"] < 4.2
    assert {path.name: path.read_bytes() for path in Path("after").rglob("*.*")} == written
