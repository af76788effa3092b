"""``check`` tells what a training with a network of its own would refuse."""

import json
import re
from pathlib import Path

import pytest

from fewmask.checking.checks import section_problems
from fewmask.checking.graph import nodes
from fewmask.core.params import Params

ROOT = Path(__file__).resolve().parents[2]
DSNET = {"name": "dsnet", "width": 0.25, "blocks": [1, 1, 1, 1]}
ROUTING = {"name": "routing", "layers": 3, "channels": 4}
SELENE = {"network": ROUTING, "steps": 4, "batch": 2, "unlabelled": 2, "optimiser": {"name": "adamw", "lr": 0.01}}
PARAMS = {
    "seed": 0,
    "dataset": {"kind": "streets", "root": ".", "size": [48, 64], "source": {"kind": "none", "root": "."}},
    "split": {"labelled": 5},
    "network": DSNET,
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
        for name, tree in (("dvc.yaml", {"stages": stages}), ("params.yaml", {**PARAMS, "selene": SELENE | changes})):
            Path(name).write_text(json.dumps(tree))
        listed = section_problems(Params(Path("params.yaml")), Path("dvc.yaml"))
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
        ({"unlabelled": 0}, r"selene: unlabelled is 0, and semi: mean_teacher learns from unlabelled images; raise it"),
        ({"begin_with": "supervised"}, r".*begin_with: found supervised.*"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_what_a_training_would_refuse_is_one_problem(problems, changes, told) -> None:
    """The last: the supervised network is dsnet, and its weights are none of the routing network's."""
    listed = problems(**changes)
    assert len(listed) == 1
    assert re.match(told, listed[0])
