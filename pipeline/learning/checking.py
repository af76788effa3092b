"""Validate the whole of params.yaml against the schemas of everything that dvc.yaml runs."""

import difflib
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.core.errors import ConfigError, UserError
from pipeline.core.params import Params
from pipeline.core.runtime import Runtime, choose_device
from pipeline.datasets.sources import DatasetConfig
from pipeline.datasets.split import SplitConfig
from pipeline.labelling.filter import FilterConfig
from pipeline.learning.recipe import learner_class
from pipeline.nets.published import network_module
from pipeline.scoring.evaluation import EvaluateConfig

SCHEMAS: dict[str, Any] = {
    "seed": int,
    "dataset": DatasetConfig,
    "split": SplitConfig,
    "filter": FilterConfig,
    "evaluate": EvaluateConfig,
}


def section_problems(params: Params, graph: Path) -> list[str]:
    """Every problem of the params file, one line each: unknown keys, and what each stage would refuse."""
    stages = _stages(graph)
    known = sorted({key.split(".")[0] for stage in stages for key in stage.get("params", [])} | {"runtime"})
    problems = [_unknown(params, key, known) for key in params.keys() if key not in known]  # noqa: SIM118
    for check in _checks(params, stages):
        try:
            check()
        except UserError as error:
            problems += str(error).splitlines()
    return problems


def _unknown(params: Params, key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    hint = f", did you mean '{close[0]}'?" if close else "; remove it."
    return f"{params.path}: {key}: unknown key{hint}"


def _checks(params: Params, stages: list[dict[str, Any]]) -> Iterator[Callable[[], object]]:
    for key, schema in SCHEMAS.items():
        yield lambda key=key, schema=schema: params.section(key, schema)  # type: ignore[misc]
    if params.has("runtime"):
        yield lambda: choose_device(params.section("runtime", Runtime).device)
    yield lambda: params.section("network", network_module(str(params.raw("network.name"))).Config)
    for stage in stages:
        words = shlex.split(str(stage["cmd"]))
        if "--learner" in words:
            yield lambda words=words: params.merged(_after(words, "--section"), _config(words))  # type: ignore[misc]


def _config(words: list[str]) -> Any:
    return learner_class(_after(words, "--learner")[0]).schema


def _after(words: list[str], option: str) -> list[str]:
    """The values of one option of a command line."""
    rest = words[words.index(option) + 1 :]
    end = next((place for place, word in enumerate(rest) if word.startswith("--")), len(rest))
    return rest[:end]


def _stages(graph: Path) -> list[dict[str, Any]]:
    if not graph.is_file():
        raise ConfigError(f"{graph}: no such file. Run this in the project's root folder.")
    tree = YAML(typ="safe").load(graph.read_text())
    return [stage.get("do", stage) for stage in tree["stages"].values()]
