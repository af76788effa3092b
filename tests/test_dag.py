"""dvc.yaml says the truth: code dependencies are the import closure, declared params are the params read."""

import ast
import copy
import importlib
import shlex
from collections.abc import Iterator
from functools import cache, reduce
from pathlib import Path
from typing import Any

import pytest
from dvc.stage.cache import _get_cache_hash
from ruamel.yaml import YAML

from fewmask.checking.graph import nodes
from fewmask.checking.presets import read_preset

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = ("pipeline/nets/${network.name}.py", "pipeline/nets/${selene.network.name}.py")
STAGES = nodes(ROOT / "dvc.yaml")
DROPPED = {"size", "nfiles"}  # keys that DVC's run cache leaves out
WHOLE_PRESETS = ("streets", "camvid_small")
NETWORKS = sorted(p for p in (ROOT / "pipeline/nets").glob("*.py") if "\nclass Config(" in p.read_text())
SEGMENTATION = [path for path in NETWORKS if "\ndef head(" in path.read_text()]


def words(name: str) -> list[str]:
    return shlex.split(STAGES[name]["cmd"])


def dependencies(name: str) -> list[str]:
    return STAGES[name].get("deps", [])


def declared_params(name: str) -> list[str]:
    """Each once: what a node names twice, DVC counts once."""
    return sorted(set(STAGES[name].get("params", [])))


def outputs(name: str) -> list[str]:
    listed = [out for kind in ("outs", "metrics", "plots") for out in STAGES[name].get(kind, [])]
    return [next(iter(out), "") if isinstance(out, dict) else out for out in listed]


@cache
def imports(path: Path) -> set[Path]:
    """Project files that one file imports, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    files = {ROOT / f"{name.replace('.', '/')}.py" for name in names if name.startswith(("pipeline.", "stages."))}
    return {file for file in files if file.is_file()}


def closure(roots: list[Path]) -> set[Path]:
    seen: set[Path] = set()
    left = list(roots)
    while left:
        path = left.pop()
        if path not in seen:
            seen.add(path)
            left += imports(path)
    return seen


def needed(name: str) -> set[Path]:
    """Every file that the stage's command can import: its script, its learner, and the networks it loads by name."""
    line = words(name)
    roots = [ROOT / f"{line[2].replace('.', '/')}.py"]
    if "--learner" in line:
        module = line[line.index("--learner") + 1].rpartition(".")[0]
        roots.append(ROOT / f"{module.replace('.', '/')}.py")
    files = closure(roots)
    if ROOT / "pipeline/nets/base/published.py" in files:
        files |= closure(SEGMENTATION)
    if "--confidence" in line:
        files |= closure([ROOT / "pipeline/methods/auxiliary/judge.py"])
    return files


@pytest.mark.parametrize("name", STAGES)
def test_code_dependencies_are_the_import_closure(name):
    code = [dep for dep in dependencies(name) if dep.startswith(("pipeline", "stages"))]
    listed = [path for dep in code for path in (SEGMENTATION if dep in TEMPLATES else [ROOT / dep])]
    missing = [path for path in needed(name) if not any(path.is_relative_to(dep) for dep in listed)]
    assert not missing, f"{name} imports {missing} but does not depend on it"
    idle = [dep for dep in listed if not any(path.is_relative_to(dep) for path in needed(name))]
    assert not idle, f"{name} depends on {idle} but never imports it"


@pytest.mark.parametrize("name", STAGES)
def test_declared_params_are_the_params_read(name):
    line = words(name)
    module = importlib.import_module(line[2])
    read = module.keys(module.arguments().parse_args(line[3:])) if hasattr(module, "keys") else module.KEYS
    named = {key for key in declared_params(name) if DROPPED & set(key.split(".")) and key not in read}
    assert set(declared_params(name)) - named == set(read)
    assert all(any(key.startswith(f"{section}.") for section in read) for key in named)


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every value inside a section that is no mapping."""
    if not isinstance(value, dict):
        yield path
        return
    for key, inner in value.items():
        yield from leaves(inner, (*path, key))


def run_cache_key(tree: dict[str, Any], declared: list[str]) -> str:
    """The key under which DVC's run cache keeps a stage with these params."""
    params = {key: reduce(lambda node, part: node[part], key.split("."), tree) for key in declared}
    return _get_cache_hash({"cmd": "run", "params": {"params.yaml": copy.deepcopy(params)}}, key=True)


@pytest.mark.parametrize("preset", WHOLE_PRESETS)
@pytest.mark.parametrize("name", STAGES)
def test_every_declared_param_changes_the_run_cache_key(name, preset):
    """DVC leaves keys called `size` out; what a stage would then take from the cache is of another size."""
    tree = YAML(typ="safe").load(read_preset(preset))
    declared = declared_params(name)
    before = run_cache_key(tree, declared)
    for key in declared:
        section = reduce(lambda node, part: node[part], key.split("."), tree)
        for path in leaves(section, tuple(key.split("."))):
            changed = copy.deepcopy(tree)
            reduce(lambda node, part: node[part], path[:-1], changed)[path[-1]] = "another"
            assert run_cache_key(changed, declared) != before, f"{name}: {'.'.join(path)}"


@pytest.mark.parametrize("name", STAGES)
def test_files_of_the_command_are_declared(name):
    """Each path of the command line is a dependency or an output (or the folder of one)."""
    declared = dependencies(name) + outputs(name)
    for word in words(name)[3:]:
        if word.startswith(("data/", "models/", "metrics/")):
            assert any(path == word or path.startswith(f"{word}/") for path in declared), word


def test_params_yaml_is_the_default_preset():
    assert (ROOT / "params.yaml").read_text() == read_preset("streets")


def test_runtime_is_declared_by_no_stage():
    assert not any(key.startswith("runtime") for name in STAGES for key in declared_params(name))


def test_labels_are_not_made_anew_when_the_fusion_changes():
    made_of_it = {name for name in STAGES if "pipeline/prediction/fusion.py" in dependencies(name)}
    assert made_of_it == {name for name in STAGES if name.startswith("evaluate@")}


def test_packages_import_nothing_of_themselves():
    """An __init__.py that imports would make every stage depend on everything."""
    assert all(path.read_text() == "" for path in (ROOT / "pipeline").rglob("__init__.py"))


def test_pipeline_never_imports_stages():
    assert not [
        path for path in (ROOT / "pipeline").rglob("*.py") if "stages" in {p.parent.name for p in imports(path)}
    ]


def descendants(name: str) -> set[str]:
    """The stage and everything that becomes stale with it."""
    made = set(outputs(name))
    later = {other for other in STAGES if made & set(dependencies(other))}
    return {name}.union(*(descendants(other) for other in later))


def ancestors(name: str) -> set[str]:
    earlier = {other for other in STAGES if set(outputs(other)) & set(dependencies(name))}
    return {name}.union(*(ancestors(other) for other in earlier))


def test_a_threshold_makes_exactly_four_stages_stale():
    reading = {name for name in STAGES if "filter" in declared_params(name)}
    assert reading == {"auxiliary-filter"}
    expected = {"auxiliary-filter", "auxiliary-retrain", "evaluate@auxiliary", "report"}
    assert descendants("auxiliary-filter") == expected


@pytest.mark.parametrize("name", [name for name in STAGES if name.startswith("evaluate@")])
def test_each_method_is_a_sub_graph_that_shares_the_supervised_network(name):
    assert "supervised" in ancestors(name)
    assert not any(other.startswith("evaluate@") for other in ancestors(name) - {name})


def test_a_method_s_file_makes_only_its_own_stages_stale():
    """Whoever edits one paper's file retrains that paper's networks and no other's."""
    readers = {
        path.stem: {name for name in STAGES if f"pipeline/methods/{path.name}" in dependencies(name)}
        for path in sorted((ROOT / "pipeline/methods").glob("[a-z]*.py"))
    }
    assert readers == {
        "auxiliary": {"auxiliary-network"},
        "contrastive": {"contrastive"},
        "mlmt": {"mlmt"},
        "s4gan": {"s4gan"},
        "selene": {"selene"},
        "supervised": {"supervised", "auxiliary-retrain"},
        "three_stage": {"three_stage-2", "three_stage-3"},
    }


def test_no_method_imports_another():
    for path in sorted((ROOT / "pipeline/methods").glob("*.py")):
        assert not [file for file in imports(path) if file.parent.name == "methods"], path


def test_the_contrastive_method_is_one_training():
    """It may begin with the supervised network, and needs no pseudo-labels of any."""
    expected = {"prepare", "prepare-source", "split", "supervised", "contrastive", "evaluate@contrastive"}
    assert ancestors("evaluate@contrastive") == expected


def test_only_the_contrastive_method_depends_on_the_source_domain():
    later = descendants("prepare-source")
    assert later == {"prepare-source", "contrastive", "evaluate@contrastive", "report"}


def test_the_threshold_of_the_fusion_makes_one_evaluation_stale():
    reading = {name for name, body in STAGES.items() if "fusion" in body.get("params", [])}
    assert reading == {"evaluate@s4gan_mlmt"}
    assert descendants("evaluate@s4gan_mlmt") == {"evaluate@s4gan_mlmt", "report"}


def test_the_two_branches_are_trained_apart_and_meet_at_prediction():
    shared = {"prepare", "split", "supervised"}
    assert ancestors("s4gan") == shared | {"s4gan"}
    assert ancestors("mlmt") == shared | {"mlmt"}
    assert ancestors("evaluate@s4gan_mlmt") == shared | {"s4gan", "mlmt", "evaluate@s4gan_mlmt"}


def test_selene_is_one_training_with_a_network_of_its_own():
    shared = {"prepare", "split", "supervised"}
    assert ancestors("evaluate@selene") == shared | {"selene", "evaluate@selene"}
    for name in STAGES:
        found = [template for template in TEMPLATES if template in dependencies(name)]
        assert len(found) <= 1
        assert (found == [TEMPLATES[1]]) == (name in ("selene", "evaluate@selene"))


def test_three_stages_share_stage_1_and_come_one_after_another():
    assert ancestors("evaluate@three_stage") == {
        "prepare", "split", "supervised", "supervised-label", "three_stage-2", "three_stage-2-label", "three_stage-3",
        "evaluate@three_stage",
    }  # fmt: skip
    assert "auxiliary-label" not in descendants("three_stage-2")
