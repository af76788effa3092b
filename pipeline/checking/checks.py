"""Validate the whole of params.yaml against the schemas of everything that dvc.yaml runs."""

import difflib
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fewmask.checking.graph import nodes
from fewmask.core.errors import ConfigError, UserError
from fewmask.core.params import Params, Section, Seed
from fewmask.core.progress import say, warn
from fewmask.core.runtime import Runtime
from fewmask.datasets.base.dataset import DatasetConfig
from fewmask.datasets.base.opening import open_source
from fewmask.fusion.thresholds import FusionConfig, require_validation
from fewmask.learning.batchnorm import require_sense
from fewmask.learning.data import no_source
from fewmask.learning.fit import FitConfig
from fewmask.learning.learner import Task
from fewmask.learning.optim import make_optimiser
from fewmask.learning.recipe import learner_class, load_start, require_tags
from fewmask.nets.base.device import choose_device
from fewmask.nets.base.encoders import EncoderConfig
from fewmask.nets.base.normalise import Normalise
from fewmask.nets.base.published import build, segmentation_module
from fewmask.nets.base.weights import IMAGENET, NAMED
from fewmask.scoring.evaluation import EvaluateConfig
from fewmask.selection.filter import FilterConfig, minimum_codes
from fewmask.splitting import Catalogue, SplitConfig, divide
from fewmask.stores.codes import EDGES

SCHEMAS: dict[str, Any] = {
    "seed": Seed,
    "dataset": DatasetConfig,
    "split": SplitConfig,
    "filter": FilterConfig,
    "evaluate": EvaluateConfig,
    "fusion": FusionConfig,
}


def section_problems(params: Params, graph: Path) -> list[str]:
    """Every problem of the params file, one line each: unknown keys, and what each stage would refuse."""
    stages = list(nodes(graph).values())
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
    for key in ("dataset.root", "dataset.source.root"):
        yield lambda key=key: _check_root(params, key)  # type: ignore[misc]
    if params.has("runtime"):
        yield lambda: choose_device(params.section("runtime", Runtime).device)
    for stage in stages:
        words = shlex.split(str(stage["cmd"]))
        if "--learner" in words:
            yield lambda words=words: _try_learner(params, words)  # type: ignore[misc]


def _try_learner(params: Params, words: list[str]) -> None:
    """Make a node's learner and its optimisers, with fresh networks, as the stage will."""
    key = _after(words, "--network")[0] if "--network" in words else "network"
    network = _network(params, key)
    kind = learner_class(_after(words, "--learner")[0])
    require_tags(kind, "--tags" in words)
    config: FitConfig = params.merged(_after(words, "--section"), kind.schema)
    _check_weights(key, network.weights)
    if config.source and "--source" not in words:
        raise no_source(config.source, f"{_after(words, '--section')[-1]} is given no --source in dvc.yaml")
    if config.source and params.raw("dataset.source.kind") == "none":
        raise no_source(config.source, "dataset.source.kind is none")
    sizes = [params.raw("dataset").get("size"), params.raw("dataset").get("source", {}).get("size")]
    if config.source and config.views.crop is None and None not in sizes and sizes[0] != sizes[1]:
        found = f"dataset.source.size: found {sizes[1]}, and {sizes[0]} in dataset.size"
        raise ConfigError(f"{found}; expected the same where views.crop is null. Set one of them.")
    if config.begin_with == "supervised" and "--start" not in words:
        load_start(None, [], {})
    if config.begin_with == "supervised" and key != "network" and not _alike(network, _network(params, "network")):
        section = _after(words, "--section")[-1]
        found = f"{section}.begin_with: found supervised, and {key} is another than the supervised network's"
        raise ConfigError(f"{found}; expected the same. Write 'begin_with: weights', or make {key} like network.")
    if "--base" not in words and config.begin_with == "weights":
        require_sense(network, config.batch_norm, key)
    fresh = network.model_copy(update={"weights": None})
    encoder: EncoderConfig | None = getattr(config, "encoder", None)
    if encoder is not None:
        _check_weights(f"{_after(words, '--section')[-1]}.encoder", encoder.weights)
        config = config.model_copy(update={"encoder": encoder.model_copy(update={"weights": None})})
    scale, names = Normalise(*IMAGENET), _class_names(params)
    new = lambda: build(fresh, len(names))  # noqa: E731
    task = Task(names, fresh.model_dump(mode="json"), new, scale, new())
    for player, module in kind(config, task).players().items():
        make_optimiser(module, config.optimiser_of(player))


def _network(params: Params, key: str) -> Any:
    """The section of a network that segments images."""
    return params.section(key, segmentation_module(str(params.raw(f"{key}.name")), key).Config)


def _alike(network: Section, other: Section) -> bool:
    """Whether one can have the other's weights; those it would begin with do not matter."""
    return network.model_copy(update={"weights": None}) == other.model_copy(update={"weights": None})


def _class_names(params: Params) -> list[str]:
    """Those of the data set; two of no data set, where it cannot be opened, of which others tell."""
    try:
        return list(open_source(params.section("dataset", DatasetConfig)).classes)
    except UserError:
        return ["a", "b"]


def _check_root(params: Params, key: str) -> None:
    root = params.raw(key)
    if not (isinstance(root, str) and Path(root).exists()):
        raise ConfigError(f"{key}: {root!r}: no such file or folder; DVC watches it. Mend the path.")


def _check_weights(section: str, weights: str | None) -> None:
    if weights not in (None, *NAMED) and not Path(str(weights)).is_file():
        raise ConfigError(
            f"{section}.weights: {weights!r}: no such file; expected a state dict, torchvision, lite0 or null."
        )


def data_problems(params: Params, data: Catalogue, graph: Path) -> list[str]:
    """What the split, the filter and the trainings would refuse of these images; warnings are said."""
    problems = []
    try:
        split = divide(data, params.section("split", SplitConfig), params.section("seed", Seed))
        for warning in split.warnings:
            warn(warning)
        say(f"split: {split.summary()}")
        if not split.unlabelled:
            problems += _without_unlabelled(params, graph)
        classes = range(len(data.class_names))
        labelled = any(np.isin(classes, data.presence[name]).any() for name in split.validation)
        require_validation(params.section("fusion", FusionConfig).rule, labelled)
    except UserError as error:
        problems += str(error).splitlines()
    try:
        minimum_codes(params.section("filter", FilterConfig), data.class_names, EDGES)
    except UserError as error:
        problems += str(error).splitlines()
    return problems


def _without_unlabelled(params: Params, graph: Path) -> list[str]:
    """The trainings that need unlabelled images, which the split does not leave."""
    commands = [shlex.split(str(stage["cmd"])) for stage in nodes(graph).values()]
    wanting = []
    for words in (words for words in commands if "--learner" in words):
        keys = _after(words, "--section")
        config: FitConfig = params.merged(keys, learner_class(_after(words, "--learner")[0]).schema)
        if config.unlabelled and config.unlabelled_pool != "all":
            wanting.append(keys[-1])
    if not wanting:
        return []
    found = f"split: no unlabelled image; expected some for {', '.join(wanting)}"
    remedy = "Add images, label fewer, set unlabelled_pool: all, or run 'dvc repro evaluate@supervised' alone."
    return [f"{found}. {remedy}"]


def _after(words: list[str], option: str) -> list[str]:
    """The values of one option of a command line."""
    rest = words[words.index(option) + 1 :]
    end = next((place for place, word in enumerate(rest) if word.startswith("--")), len(rest))
    return rest[:end]
