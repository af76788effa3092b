"""A small project in the working folder, and stages run in this process."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from fewmask.methods.mlmt import tagger
from fewmask.nets.base.published import Header, build, save_model
from fewmask.nets.dsnet.dsnet import Config
from fewmask.nets.routing import routing
from fewmask.nets.routing.routing import encoder_of
from fewmask.stores.images import Images
from stages import evaluate

SMALL = Config(width=0.25, blocks=[1, 1, 1, 1])
TAGGER = tagger.Config(network=SMALL.model_dump())
GATED = routing.Config(layers=3, channels=4)
HEADER = Header({}, ["sky", "road", "car"], [[0, 0, 0]] * 3, [0.5] * 3, [0.2] * 3, [32, 48], {}, {})
ROLES = ["train", "validation", "test"]


def choosy_gates(net: nn.Module) -> None:
    """Images then differ in the gates that they open."""
    for cell in encoder_of(net).cells():
        cell.gate.decide.weight.data.normal_(0, 30)
        cell.gate.decide.bias.data.normal_(0, 1)


def blind_to_road(net: nn.Module) -> None:
    """The tagger then says that every image has sky and car, and no road."""
    net.classify.weight.data.zero_()
    net.classify.bias.data = torch.tensor([9.0, -9.0, 9.0])


@pytest.fixture
def publish() -> Callable[..., None]:
    """``publish("net", SMALL, size=[32, 32])`` writes net.safetensors; equal sections get equal weights."""

    def write(name: str, section, change: Callable[[nn.Module], None] | None = None, **fields) -> None:
        torch.manual_seed(0)
        net = build(section, 3)
        if change:
            change(net)
        header = Header(**{**vars(HEADER), "network": section.model_dump(mode="json"), **fields})
        save_model(Path(f"{name}.safetensors"), net, header)

    return write


@pytest.fixture
def project(
    tmp_path: Path, image_store, image_rows, write_params, monkeypatch, publish
) -> Iterator[Callable[..., None]]:
    """``project(fusion="rule: pixels", validation=2)``: params, stores and models in the working folder.

    Images are of four contrasts.
    """
    monkeypatch.chdir(tmp_path)

    def make(fusion: str = "tau: 0.2", validation: int = 3, scoring: str = "") -> None:
        rows = image_rows(train=2, validation=validation, test=4, size=tuple(HEADER.size))
        store = image_store(rows=[(*row[:2], row[2] // (1 + number % 4), row[3]) for number, row in enumerate(rows)])
        write_params(f"seed: 3\nevaluate: {{{scoring}}}\nfusion: {{{fusion}}}\nruntime: {{device: cpu, threads: 1}}\n")
        with Images(store) as images:
            by_role = {role: [i for i, r in zip(images.ids, images.roles, strict=True) if r == role] for role in ROLES}
        split = {"schema": "fewmask-split", "schema_version": 1, "seed": 3, "evaluated": "test", "warnings": []}
        split |= {"labelled": by_role["train"], "unlabelled": []}
        Path("split.json").write_text(json.dumps(split | {role: by_role[role] for role in ROLES[1:]}))
        publish("net", SMALL)
        publish("gated", GATED, choosy_gates)
        publish("tagger", TAGGER, blind_to_road)

    threads = torch.get_num_threads()
    yield make
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def run(monkeypatch) -> Callable[..., None]:
    """``run(evaluate, "--model", "net.safetensors")``: a stage's command line in this process."""

    def command(stage: ModuleType, *words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["stage", *words])
        stage.main()

    return command


@pytest.fixture
def scored(run) -> Callable[..., dict]:
    """``scored("after", "net")``: what evaluate says of net.safetensors, in after.json and the folder after."""

    def score(name: str, model: str) -> dict:
        stores = ("--images", "images.h5", "--split", "split.json", "--model", f"{model}.safetensors")
        run(evaluate, *stores, "--out", f"{name}.json", "--plots", name)
        return json.loads(Path(f"{name}.json").read_text())

    return score
