"""dvc.yaml says the truth: code dependencies are the import closure, declared params are the params read."""

import ast
import copy
import importlib
import re
import shlex
from collections.abc import Iterable, Iterator
from functools import cache, reduce
from pathlib import Path
from typing import Any

import pytest
from dvc.stage.cache import _get_cache_hash
from ruamel.yaml import YAML

from fewmask.checking.graph import nodes
from fewmask.checking.presets import read_preset
from fewmask.core.params import Params
from fewmask.learning.config import BeginningConfig
from fewmask.learning.recipe import learner_class

ROOT = Path(__file__).resolve().parents[1]
PARAMS = Params(ROOT / "params.yaml")
STAGES = nodes(ROOT / "dvc.yaml")
DROPPED = {"size", "nfiles"}  # keys that DVC's run cache leaves out
WHOLE_PRESETS = ("streets", "camvid_small")
CODE = [path for path in (ROOT / "pipeline").rglob("*.py") if path.name != "__init__.py"]
NETWORKS = {path.parent.name: path for path in (ROOT / "pipeline/nets").glob("*/*.py") if path.stem == path.parent.name}
DATASETS = {
    path.parent.name: path for path in (ROOT / "pipeline/datasets").glob("*/*.py") if path.stem == path.parent.name
}


def words(name: str) -> list[str]:
    return shlex.split(STAGES[name]["cmd"])


def option(name: str, flag: str, default: str | None = None) -> str | None:
    """What follows a flag on the command line of a stage."""
    line = words(name)
    return line[line.index(flag) + 1] if flag in line else default


@cache
def dependencies(name: str) -> list[str]:
    """With what comes from params.yaml filled in."""
    return [re.sub(r"\$\{(.+?)\}", lambda key: str(PARAMS.raw(key[1])), dep) for dep in STAGES[name].get("deps", [])]


@cache
def listed(name: str) -> set[Path]:
    """The code files that a stage depends on, those of its folders one by one."""
    paths = [ROOT / dep for dep in dependencies(name) if dep.startswith(("pipeline", "stages"))]
    inside = {file for path in paths for file in CODE if file.is_relative_to(path)}
    return inside | {path for path in paths if path.is_file()}


def declared_params(name: str) -> list[str]:
    """Each once: what a node names twice, DVC counts once."""
    return sorted(set(STAGES[name].get("params", [])))


@cache
def outputs(name: str) -> list[str]:
    found = [out for kind in ("outs", "metrics", "plots") for out in STAGES[name].get(kind, [])]
    return [next(iter(out), "") if isinstance(out, dict) else out for out in found]


@cache
def imports(path: Path) -> set[Path]:
    """Project files that one file imports, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    ours = [name.replace("fewmask.", "pipeline.", 1) for name in names if name.startswith(("fewmask.", "stages."))]
    files = {ROOT / f"{name.replace('.', '/')}.py" for name in ours}
    return {file for file in files if file.is_file()}


def closure(roots: Iterable[Path]) -> set[Path]:
    seen: set[Path] = set()
    left = list(roots)
    while left:
        path = left.pop()
        if path not in seen:
            seen.add(path)
            left += imports(path)
    return seen


def by_name(known: dict[str, Path], chosen: str) -> set[Path]:
    """What loading one of several by name may import: the folder of the chosen one, and what any of them shares."""
    others = {path.parent for name, path in known.items() if name != chosen}
    return {path for path in closure(known.values()) if path.parent not in others}


@cache
def needed(name: str) -> set[Path]:
    """Every file that can change what the stage's command makes: what it imports, and what params or options name."""
    roots = [ROOT / f"{words(name)[2].replace('.', '/')}.py"]
    if learner := option(name, "--learner"):
        method = learner.partition(".")[0]
        roots.append(ROOT / f"pipeline/methods/{method}/{method}.py")
    if "--confidence" in words(name):
        roots.append(ROOT / "pipeline/methods/auxiliary/judge.py")
    files = closure(roots)
    if ROOT / "pipeline/nets/base/published.py" in files:
        key = "selene.network" if name == "evaluate@selene" else option(name, "--network", "network")
        files |= by_name(NETWORKS, PARAMS.raw(f"{key}.name"))
    if ROOT / "pipeline/datasets/base/opening.py" in files:
        files |= by_name(DATASETS, PARAMS.raw(f"{option(name, '--section', 'dataset')}.kind"))
    return files


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_exactly_the_files_that_it_imports(name):
    """For every pair of a stage and a file: an edit makes the stage stale if, and only if, it may matter."""
    missing, idle = needed(name) - listed(name), listed(name) - needed(name)
    assert not missing, f"{name} imports {sorted(missing)} and does not depend on it"
    assert not idle, f"{name} depends on {sorted(idle)} and never imports it"


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


@cache
def readers(file: str) -> set[str]:
    """The stages that an edit of one file makes stale at once."""
    return {name for name in STAGES if ROOT / file in listed(name)}


TRAININGS = {name for name in STAGES if "--learner" in words(name)}


@pytest.mark.parametrize("name", sorted(TRAININGS - {"supervised"}))
def test_whoever_may_begin_as_the_supervised_network_is_given_it(name):
    """And nobody else: a training without the key would be stale for nothing."""
    may = issubclass(learner_class(option(name, "--learner")).schema, BeginningConfig)
    assert option(name, "--start") == ("models/supervised.safetensors" if may else None)


@pytest.mark.parametrize("file", ["checking/checks", "checking/graph", "prediction/image_folder", "reporting/page"])
def test_what_no_training_imports_makes_no_training_stale(file):
    assert not readers(f"pipeline/{file}.py") & TRAININGS


def test_the_label_store_is_nothing_to_those_who_read_no_labels():
    assert not readers("pipeline/stores/labels.py") & {"prepare", "prepare-source", "split"}


def test_labels_are_not_made_anew_when_the_fusion_changes():
    evaluations = {name for name in STAGES if name.startswith("evaluate@")}
    assert readers("pipeline/fusion/fused.py") == {"s4gan_mlmt", *evaluations}


def test_packages_import_nothing_of_themselves():
    """An __init__.py that imports would make every stage depend on everything."""
    assert all(path.read_text() == "" for path in (ROOT / "pipeline").rglob("__init__.py"))


def test_pipeline_never_imports_stages():
    assert not [
        path for path in (ROOT / "pipeline").rglob("*.py") if "stages" in {p.parent.name for p in imports(path)}
    ]


def feeds(out: str, dep: str) -> bool:
    """Whether a dependency is the output or a folder above it."""
    return Path(out).is_relative_to(dep)


@cache
def descendants(name: str) -> set[str]:
    """The stage and everything that becomes stale with it."""
    later = {other for other in STAGES for dep in dependencies(other) if any(feeds(out, dep) for out in outputs(name))}
    return {name}.union(*(descendants(other) for other in later))


@cache
def ancestors(name: str) -> set[str]:
    earlier = {
        other for other in STAGES for dep in dependencies(name) if any(feeds(out, dep) for out in outputs(other))
    }
    return {name}.union(*(ancestors(other) for other in earlier))


def test_the_report_completes_the_graph():
    assert ancestors("report") == set(STAGES)


def test_a_threshold_makes_exactly_four_stages_stale():
    reading = {name for name in STAGES if "filter" in declared_params(name)}
    assert reading == {"auxiliary-filter"}
    expected = {"auxiliary-filter", "auxiliary-retrain", "evaluate@auxiliary", "report"}
    assert descendants("auxiliary-filter") == expected


@pytest.mark.parametrize("name", [name for name in STAGES if name.startswith("evaluate@")])
def test_each_method_is_a_sub_graph_that_shares_the_supervised_network(name):
    assert "supervised" in ancestors(name)
    assert not any(other.startswith("evaluate@") for other in ancestors(name) - {name})


def test_a_method_s_folder_makes_only_its_own_stages_stale():
    """Whoever edits one paper's folder retrains that paper's networks and no other's."""
    folders = sorted((ROOT / "pipeline/methods").glob("[a-z]*/"))
    found = {path.name: readers(f"pipeline/methods/{path.name}/{path.name}.py") for path in folders}
    trained_by = {
        name: {node for node in TRAININGS if option(node, "--learner", "").startswith(f"{name}.")} for name in found
    }
    assert found == trained_by
    assert found["supervised"] == {"supervised", "auxiliary-retrain"}


def test_no_method_network_or_data_set_imports_another():
    for kind in ("methods", "nets", "datasets"):
        own = [path for path in CODE if path.is_relative_to(ROOT / "pipeline" / kind)]
        for path in own:
            others = [file for file in imports(path) if file.is_relative_to(ROOT / "pipeline" / kind)]
            strange = [file for file in others if file.parent not in (path.parent, ROOT / f"pipeline/{kind}/base")]
            assert not strange, f"{path} imports {strange}"


def test_imports_form_no_circle():
    """Neither files nor folders of pipeline/ import each other in a circle."""
    for path in CODE:
        assert path not in closure(imports(path)), path
    between = {path.parent: set() for path in CODE}
    for path in CODE:
        between[path.parent] |= {file.parent for file in imports(path)} - {path.parent}
    for folder in between:
        reached, left = set(), list(between[folder])
        while left:
            other = left.pop()
            if other not in reached:
                reached.add(other)
                left += between[other]
        assert folder not in reached, f"{folder} is imported by what it imports"


def test_the_contrastive_method_is_one_training():
    """It may begin with the supervised network, and needs no pseudo-labels of any."""
    expected = {"prepare", "prepare-source", "clear", "split", "supervised", "contrastive", "evaluate@contrastive"}
    assert ancestors("evaluate@contrastive") == expected


def test_only_the_contrastive_method_depends_on_the_source_domain():
    later = descendants("prepare-source")
    assert later == {"prepare-source", "contrastive", "evaluate@contrastive", "report"}


def test_the_threshold_of_the_fusion_makes_exactly_three_stages_stale():
    reading = {name for name in STAGES if "fusion" in declared_params(name)}
    assert reading == {"s4gan_mlmt"}
    assert descendants("s4gan_mlmt") == {"s4gan_mlmt", "evaluate@s4gan_mlmt", "report"}


def test_the_two_branches_are_trained_apart_and_then_fused():
    shared = {"prepare", "split", "supervised"}
    assert ancestors("s4gan") == shared | {"s4gan"}
    assert ancestors("mlmt") == shared | {"mlmt"}
    assert ancestors("evaluate@s4gan_mlmt") == shared | {"s4gan", "mlmt", "s4gan_mlmt", "clear", "evaluate@s4gan_mlmt"}


def test_selene_is_one_training_with_a_network_of_its_own():
    shared = {"prepare", "split", "supervised"}
    assert ancestors("evaluate@selene") == shared | {"selene", "clear", "evaluate@selene"}
    own = {name for name, body in STAGES.items() if "pipeline/nets/${selene.network.name}" in body["deps"]}
    assert own == {"selene", "evaluate@selene"}


def test_three_stages_share_stage_1_and_come_one_after_another():
    assert ancestors("evaluate@three_stage") == {
        "prepare", "split", "supervised", "supervised-label", "three_stage-2", "three_stage-2-label", "three_stage-3",
        "clear", "evaluate@three_stage",
    }  # fmt: skip
    assert "auxiliary-label" not in descendants("three_stage-2")
