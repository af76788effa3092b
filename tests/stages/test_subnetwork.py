"""``python -m stages.subnetwork``: what it writes and says can be used, and it looks at training images alone."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewmask.core.errors import ArtefactError, ConfigError, DataError, UserError
from fewmask.core.params import Params
from fewmask.nets.base.published import Header, load_model, save_model
from fewmask.nets.base.segnet import SegNet
from fewmask.nets.dsnet import dsnet
from fewmask.nets.routing import routing
from fewmask.nets.routing.routing import encoder_of
from fewmask.prediction.predictor import Predictor
from fewmask.stores.images import Images
from stages import evaluate, predict, subnetwork

GATED = routing.Config(layers=3, channels=4)
PLAIN = dsnet.Config(width=0.25, blocks=[1, 1, 1, 1])
SIZE = (32, 48)
RUNTIME = "runtime: {device: cpu, threads: 1}\n"
NAMED = {"model": "net.safetensors", "images": "images.h5", "split": "split.json", "params": "params.yaml"}


def choosy() -> SegNet:
    """Its mean gates are all different."""
    torch.manual_seed(0)
    net = routing.build(GATED, 3).eval()
    for cell in encoder_of(net).cells():
        cell.gate.decide.bias.data.normal_(0.5, 1)
    return net


def publish(name: str, net: SegNet, section) -> None:
    header = Header(
        section.model_dump(), ["sky", "road", "car"], [[0, 0, 0]] * 3, [0.5] * 3, [0.2] * 3, [*SIZE], {}, {}
    )
    save_model(Path(f"{name}.safetensors"), net, header)


@pytest.fixture
def folder(tmp_path: Path, image_store, write_params, monkeypatch) -> Iterator[Path]:
    """The working folder: params, images and a split of them, a model with gates and one without."""
    monkeypatch.chdir(tmp_path)
    write_params(f"seed: 3\nevaluate: {{}}\n{RUNTIME}")
    with Images(image_store(train=2, bare=1, validation=1, test=2, size=SIZE)) as images:
        ids = images.ids
    split = {"schema": "fewmask-split", "schema_version": 1, "seed": 3, "evaluated": "test", "warnings": []}
    split |= {"labelled": ids[:2], "unlabelled": ids[2:3], "validation": ids[3:4], "test": ids[4:]}
    Path("split.json").write_text(json.dumps(split))
    publish("net", choosy(), GATED)
    publish("plain", dsnet.build(PLAIN, 3), PLAIN)
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


Export = Callable[..., str]


@pytest.fixture
def export(folder: Path, monkeypatch, capsys) -> Export:
    """``export(out="fixed.safetensors", below=0.2)`` runs the command and returns what it printed."""

    def run(out: str = "fixed.safetensors", **options: object) -> str:
        words = [word for name, value in {**NAMED, **options, "out": out}.items() for word in (f"--{name}", str(value))]
        monkeypatch.setattr(sys, "argv", ["subnetwork", *words])
        subnetwork.main()
        return capsys.readouterr().out

    return run


def mean_gates() -> torch.Tensor:
    """Of net.safetensors over the training images."""
    predictor = Predictor(Path("net.safetensors"))
    with Images(Path("images.h5")) as images, torch.no_grad():
        x = predictor.normalise(torch.from_numpy(images.stack(images.ids[:3])))
        return predictor.model.net.features(x)[-1].gates.mean(0)


def printed_section(told: str) -> dict:
    """The network that params.yaml has, once what was printed is put into it."""
    _, _, section = told.partition("in params.yaml:\n")
    Path("edited.yaml").write_text(section)
    return Params(Path("edited.yaml")).section("network", routing.Config)


def test_factors_are_the_mean_gates_of_the_training_images(export) -> None:
    export(below=0.2)
    means, model = mean_gates(), load_model(Path("fixed.safetensors"))
    assert len({round(gate, 4) for gate in means[means > 0].tolist()}) > 10
    for cell, row in zip(encoder_of(model.net).cells(), means, strict=True):
        chosen = [row[("keep", "up", "down").index(path)].item() for path in cell.paths]
        assert cell.paths == [] or cell.gate.factors.tolist() == pytest.approx(chosen)
        assert all(gate >= 0.2 for gate in chosen)
    assert model.header.provenance == {"base": load_model(Path("net.safetensors")).digest, "below": 0.2}


def test_the_model_is_evaluated_and_predicts_like_any_other(export, monkeypatch) -> None:
    told = export()
    words = ["evaluate", "--images", "images.h5", "--split", "split.json", "--model", "fixed.safetensors"]
    monkeypatch.setattr(sys, "argv", [*words, "--out", "fixed.json", "--plots", "plots"])
    evaluate.main()
    metrics = json.loads(Path("fixed.json").read_text())
    assert metrics["gmacs"] == metrics["gmacs_min"] == metrics["gmacs_max"]
    found, whole = map(float, re.search(r"fixed\.safetensors: (\S+) of (\S+) GMACs", told).groups())
    assert found == pytest.approx(metrics["gmacs"], abs=1e-6)
    assert found < whole
    assert Path("plots/details/routes.svg").exists()
    Path("photos").mkdir()
    Image.fromarray(np.zeros((40, 30, 3), np.uint8)).save("photos/a.png")
    words = ["predict", "--model", "fixed.safetensors", "--images", "photos", "--out", "masks"]
    monkeypatch.setattr(sys, "argv", words)
    predict.main()
    assert np.asarray(Image.open("masks/a.png")).shape == (40, 30)


def test_what_it_prints_makes_the_network_in_params(export) -> None:
    """To train on: with all its weights."""
    config = printed_section(export())
    model = load_model(Path("fixed.safetensors"))
    assert config.model_dump() == {**model.header.network, "weights": "fixed.safetensors"}
    found, expected = routing.build(config, 3).state_dict(), model.net.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    other = routing.build(config, 4)  # of other classes the head begins afresh
    assert torch.equal(other.state_dict()["blocks.0.stem.0.weight"], expected["blocks.0.stem.0.weight"])


def test_a_layer_that_begins_with_a_closed_cell_is_printed_as_a_text(export) -> None:
    """``- kud`` is no list in a list."""
    net = choosy()
    encoder_of(net).layers[0][0].gate.decide.bias.data = torch.tensor([-9.0, 9])  # down alone
    publish("net", net, GATED)
    told = export()
    paths = load_model(Path("fixed.safetensors")).header.network["paths"]
    assert (paths[0], paths[1][:2]) == ("d", "- ")
    assert printed_section(told).paths == paths


def test_training_images_alone_are_looked_at(export, edited) -> None:
    """The others are damaged, and reading one is refused."""
    export("whole.safetensors")
    with edited(Path("images.h5")) as file:
        file["image"][3:] = 0
    with Images(Path("images.h5")) as images:
        for name in images.ids[3:]:
            with pytest.raises(ArtefactError, match="checksum mismatch"):
                images.image(name)
    export()
    assert Path("fixed.safetensors").read_bytes() == Path("whole.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"below": 0}, r"^--below: found 0\.0; expected a gate that is not closed, above 0\.0001 and up to 1\.$"),
        ({"below": 2}, r"^--below: found 2\.0; expected a gate"),
        ({"below": "nan"}, "^--below: found nan; expected a gate"),
        ({"below": 1}, r"^--below: found 1\.0, and no mean gate is as high \(0\.\d\d at most\); expected less"),
        ({"model": "plain.safetensors"}, "^--model: holds the network 'dsnet', which has no gates; expected a routing"),
        ({"model": "none.safetensors"}, "^none.safetensors: no such file"),
        ({"images": "none.h5"}, "^none.h5: no such file"),
        ({"split": "none.json"}, "^none.json: "),
        ({"params": "none.yaml"}, "^none.yaml: no such file"),
        ({"out": "."}, r"^--out: found \.; expected a name that ends in \.safetensors"),
        ({"out": "fixed.bin"}, r"^--out: found fixed\.bin; expected a name that ends in \.safetensors"),
        ({"out": "params.yaml"}, r"^--out: found params\.yaml; "),
    ],
    ids=lambda value: " ".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, dict) else "",
)
def test_what_makes_no_sense_is_one_sentence_and_nothing_is_written(export, folder, options, match) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UserError, match=match) as told:
        export(**options)
    assert len(str(told.value).splitlines()) == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("name", ["model", "images", "split", "params"])
def test_no_input_is_overwritten(export, name) -> None:
    """Whatever it is called."""
    path = Path(f"{name}.safetensors")
    Path(NAMED[name]).replace(path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=rf"^{path}: is both "):
        export(out=str(path), **{name: path})
    assert path.read_bytes() == before


def test_without_training_images_there_are_no_mean_gates(export) -> None:
    split = json.loads(Path("split.json").read_text())
    Path("split.json").write_text(json.dumps({**split, "labelled": [], "unlabelled": []}))
    with pytest.raises(DataError, match=r"^split\.json: names no training image; expected some"):
        export()
