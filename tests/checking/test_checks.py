"""``check`` tells what a training with a network of its own would refuse."""

import json
import re
from pathlib import Path

import pytest

from fewmask.checking.checks import section_problems, trainings
from fewmask.checking.graph import nodes
from fewmask.core.errors import ConfigError
from fewmask.core.params import Params
from stages import fit

ROOT = Path(__file__).resolve().parents[2]
DSNET = {"name": "dsnet", "width": 0.25, "blocks": [1, 1, 1, 1]}
ROUTING = {"name": "routing", "layers": 3, "channels": 4}
SELENE = {"network": ROUTING, "steps": 4, "batch": 2, "unlabelled": 2, "optimiser": {"name": "adamw", "lr": 0.01}}
PARAMS = {
    "seed": 0,
    "dataset": {"kind": "streets", "root": ".", "size": [48, 64], "source": {"kind": "none", "root": "."}},
    "split": {"labelled": 5},
    "network": DSNET,
    "auxiliary": {"confidence": "auxiliary"},
    "filter": {"threshold": 0.5},
    "evaluate": {},
    "fusion": {},
}


@pytest.fixture
def problems(tmp_path: Path, monkeypatch):
    """``problems(budget={"share": 0.1})`` -> what is wrong with this section of selene, without the file and line."""
    monkeypatch.chdir(tmp_path)
    stages = {"selene": nodes(ROOT / "dvc.yaml")["selene"], "others": {"cmd": "run", "params": list(PARAMS)}}

    def found(**changes: object) -> list[str]:
        Path("params.yaml").write_text(json.dumps({**PARAMS, "selene": SELENE | changes}))
        listed = section_problems(Params(Path("params.yaml")), stages, trainings(stages, fit.arguments()))
        return [re.sub(r"^params\.yaml:(\d+:)? ", "", problem) for problem in listed]

    return found


@pytest.mark.parametrize("network", [ROUTING, DSNET, {**ROUTING, "paths": ["k", "kd -", "k ku kd", "k - k k"]}])
def test_a_network_of_its_own_is_fine(problems, network) -> None:
    assert problems(network=network) == []


def test_budgets_above_the_floor_are_fine(problems) -> None:
    """So are no unlabelled images where nothing learns from them, and the other's weights for the same network."""
    assert problems(budget={"share": 0.9}, semi="none", unlabelled=0) == []
    assert problems(network=DSNET, begin_with="supervised") == []
    spelled = {**DSNET, "width": 0.25, "weights": None}  # a default, written out, makes no other network
    assert problems(network=spelled, begin_with="supervised") == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"network": {**ROUTING, "name": "rooting"}}, r"selene\.network\.name: found 'rooting'; .*mean 'routing'\?"),
        ({"network": {"layers": 3}}, r"key 'selene\.network\.name' is missing; add it\."),
        ({"network": "routing"}, r"key 'selene\.network\.name' is missing; add it\."),
        ({"network": {"name": "tagger"}}, r"selene\.network\.name: 'tagger' does not segment images"),
        ({"network": {**ROUTING, "layer": 4}}, r"selene\.network\.layer: unknown key, did you mean 'layers'\?"),
        ({"network": {**ROUTING, "layers": 2}}, r"selene\.network\.layers: found 2; expected: greater than or equal"),
        ({"network": {**ROUTING, "paths": ["kd"]}}, r"selene\.network: paths has 1 texts for layers: 3; expected 4\."),
        (
            {"network": {**ROUTING, "paths": ["kd", "kd kud", "kd kud kud", "k k k ku"]}},
            r"selene\.network: paths: found the layer 'k k k ku'; expected 'k k k k', or '-' or less",
        ),
        ({"network": {**ROUTING, "weights": "none.pt"}}, r"selene\.network\.weights: 'none\.pt': no such file"),
        ({"batch_norm": "frozen"}, r"selene\.network\.weights: found null with 'batch_norm: frozen'"),
        (
            {"budget": {"share": 0.1}},
            r"budget\.share: found 0\.1; .* are 0\.\d{3} of .* Set a share of 0\.\d{3} or",
        ),
        ({"budget": {"share": 1.5}}, r"selene\.budget\.share: found 1\.5; expected: less than or equal to 1"),
        ({"budget": {"share": 0.5}, "network": DSNET}, r"budget: the network has no gates to close; expected routing"),
        ({"semi": "none", "publish": "teacher"}, r"selene: publish is teacher, and semi: none has none"),
        ({"begin_with": "supervised"}, r".*begin_with: found supervised.*"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_what_a_training_would_refuse_is_one_problem(problems, changes, told) -> None:
    """The last: the supervised network is dsnet, and its weights are none of the routing network's."""
    listed = problems(**changes)
    assert len(listed) == 1
    assert re.match(told, listed[0])


STREETS = {"kind": "streets", "root": ".", "look": "game", "size": [24, 32]}
CONTRASTIVE = {
    "steps": 4, "batch": 2, "unlabelled": 2, "source": 0.5, "batch_norm": "trained", "warm_up": 0,
    "views": {"crop": None}, "optimiser": {"name": "adamw", "lr": 0.01},
}  # fmt: skip


def of_source(source: dict[str, object], trained: str = "") -> set[str]:
    """What is wrong with this source domain, read alone or by a training."""
    graph = {name: nodes(ROOT / "dvc.yaml")[name] for name in trained.split()}
    graph["others"] = {"cmd": "run", "params": [*PARAMS, *graph]}
    tree = {**PARAMS, "contrastive": CONTRASTIVE, "dataset": {**PARAMS["dataset"], "source": source}}
    Path("params.yaml").write_text(json.dumps(tree if trained else PARAMS | {"dataset": tree["dataset"]}))
    return set(section_problems(Params(Path("params.yaml")), graph, trainings(graph, fit.arguments())))


def test_a_training_from_a_source_domain_needs_one_that_fits(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert of_source(STREETS | {"size": [48, 64]}, "contrastive") == set()
    assert of_source(STREETS, "contrastive") == {
        "dataset.source.size: images of [24, 32]; expected the target's [48, 64], as there is no views.crop. "
        "Set views.crop, or dataset.source.size."
    }
    assert of_source({"kind": "none", "root": "."}, "contrastive") == {
        "source: 0.5 of the steps, but dataset.source.kind is none; expected a labelled data set in dataset.source. "
        "Name one there, or set source: 0."
    }


def test_a_root_that_is_not_there_is_told_in_one_line(tmp_path, monkeypatch) -> None:
    """One of an earlier layout with the new one."""
    monkeypatch.chdir(tmp_path)
    assert of_source(STREETS | {"root": "a"}) == {
        "dataset.source.root: 'a': no such file or folder; DVC watches it. Fix the path."
    }
    assert of_source(STREETS | {"root": "pipeline/datasets/streets.py"}) == {
        "params.yaml:1: dataset.source.root: found 'pipeline/datasets/streets.py'; expected the folder of its code. "
        "Write 'root: pipeline/datasets/streets'."
    }


def test_commands_that_the_stage_refuses_are_told_together() -> None:
    """By its own parser, whatever they lack or have too much."""
    command = "python -m stages.fit --learner supervised.Supervised --section supervised --out m"
    cmds = {"a": f"{command} --sorce s", "b": f"{command} --join j --tags", "c": "python -m stages.split --nothing"}
    with pytest.raises(ConfigError) as caught:
        trainings({name: {"cmd": cmd} for name, cmd in cmds.items()}, fit.arguments())
    first, second = str(caught.value).splitlines()
    assert first.startswith("dvc.yaml: a: unrecognized arguments: --sorce s; expected ")
    assert second.startswith("dvc.yaml: b: argument --tags: not allowed with argument --join; expected ")
