"""Validate the whole of params.yaml against the schemas of everything that dvc.yaml runs.

The rules belong to the stages: `check` calls the same ``require_*`` functions as they do.
"""

import io
import shlex
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fewmask.checking.graph import declared
from fewmask.core.errors import ConfigError, DataError, UserError, did_you_mean, raise_all
from fewmask.core.params import Params, Section, Seed
from fewmask.core.progress import say, warn
from fewmask.core.runtime import Runtime
from fewmask.datasets.base.opening import NONE, open_dataset, read_source, read_target
from fewmask.fusion.thresholds import FusionConfig, require_validation
from fewmask.learning.batchnorm import require_sense
from fewmask.learning.config import FitConfig
from fewmask.learning.data import require_one_size, require_source, require_unlabelled
from fewmask.learning.learner import Task
from fewmask.learning.optim import make_optimiser
from fewmask.learning.recipe import (
    begins_supervised,
    learner_class,
    require_same_network,
    require_start,
    require_tags,
)
from fewmask.nets.base.device import choose_device
from fewmask.nets.base.encoders import EncoderConfig
from fewmask.nets.base.normalise import Normalise
from fewmask.nets.base.published import build, segmentation_module
from fewmask.nets.base.weights import IMAGENET, NAMED
from fewmask.prediction.predictor import Confidence
from fewmask.scoring.evaluation import EvaluateConfig
from fewmask.selection.filter import FilterConfig, minimum_codes
from fewmask.splitting import Catalogue, SplitConfig, divide
from fewmask.stores.codes import EDGES
from fewmask.stores.split import Split

SCHEMAS: dict[str, Any] = {
    "seed": Seed,
    "split": SplitConfig,
    "auxiliary.confidence": Confidence,
    "filter": FilterConfig,
    "evaluate": EvaluateConfig,
    "fusion": FusionConfig,
}
Nodes = dict[str, dict[str, Any]]
Check = Callable[[], object]


def trainings(graph: Nodes, parser: ArgumentParser) -> dict[str, Namespace]:
    """Node -> the arguments of its training, read by the ``parser`` of stages/fit.py.

    Raises:
        ConfigError: one line a command that the parser refuses.
    """
    commands = {name: shlex.split(str(node["cmd"])) for name, node in graph.items()}
    found, problems = {}, []
    for name, words in commands.items():
        if words[1:3] != ["-m", "stages.fit"]:
            continue
        try:
            with redirect_stderr(io.StringIO()) as told:
                found[name] = parser.parse_args(words[3:])
        except SystemExit:
            reason = told.getvalue().strip().rpartition("error: ")[2]
            problems.append(
                f"dvc.yaml: {name}: {reason}; expected what 'python -m stages.fit --help' says. Fix its cmd."
            )
    raise_all(problems, ConfigError)
    return found


def section_problems(params: Params, graph: Nodes, trained: Mapping[str, Namespace]) -> list[str]:
    """Every problem of the params file, one line each: unknown keys, and what each stage would refuse."""
    known = sorted({*(key.partition(".")[0] for key in declared(graph)), "runtime"})
    problems = [_unknown(params, key, known) for key in params.keys() if key not in known]  # noqa: SIM118
    return problems + _told(partial(_require, params, key) for key in declared(graph)) + _told(_checks(params, trained))


def _told(checks: Iterable[Check]) -> list[str]:
    """What the checks refuse, a line each."""
    problems: list[str] = []
    for check in checks:
        try:
            check()
        except UserError as error:
            problems += str(error).splitlines()
    return problems


def _require(params: Params, key: str) -> None:
    """Refuse params without a key that DVC reads by its full path."""
    section, _, last = key.rpartition(".")
    inside = params.raw(section) if section else {}
    if last == "size" and isinstance(inside, dict) and last not in inside:
        remedy = f"Write 'size: null' into {section} where images keep their size, else [height, width]."
        raise ConfigError(f"{params.path}: key '{key}' is missing; dvc.yaml reads it. {remedy}")
    params.raw(key)


def _unknown(params: Params, key: str, known: list[str]) -> str:
    return f"{params.path}: {key}: unknown key{did_you_mean(key, known) or '; remove it.'}"


def _checks(params: Params, trained: Mapping[str, Namespace]) -> Iterator[Check]:
    for key, schema in SCHEMAS.items():
        yield partial(params.section, key, schema)
    for key, read in (("dataset", read_target), ("dataset.source", read_source)):
        yield partial(_try_data_set, params, key, read)
    if params.has("runtime"):
        yield lambda: choose_device(params.section("runtime", Runtime).device)
    for args in trained.values():
        yield partial(_try_training, params, args)


def _try_data_set(params: Params, key: str, read: Callable[[Params, str], Any]) -> None:
    """Read the section of a data set. Its root is written there, where dvc.yaml reads it, and it exists."""
    read(params, key)
    root = params.raw(f"{key}.root")
    if not (isinstance(root, str) and Path(root).exists()):
        raise ConfigError(f"{key}.root: {root!r}: no such file or folder; DVC watches it. Fix the path.")


def _try_training(params: Params, args: Namespace) -> None:
    """Ask for what the stage would refuse; then make its learner and optimisers, with fresh networks."""
    network = _network(params, args.network)
    kind = learner_class(args.learner)
    require_tags(kind, args.tags)
    config: FitConfig = params.merged(args.section, kind.schema)
    _require_weights(args.network, network.weights)
    require_start(config, args.start is not None)
    if begins_supervised(config) and args.network != "network":
        _require_supervised_network(params, args, network)
    if args.base is None and not begins_supervised(config):
        require_sense(network, config.batch_norm, args.network)
    fresh = network.model_copy(update={"weights": None})
    config = _without_pretrained_encoder(config, args.section[-1])
    scale, names = Normalise(*IMAGENET), _class_names(params)
    task = Task(
        names, fresh.model_dump(mode="json"), partial(build, fresh, len(names)), scale, build(fresh, len(names))
    )
    for player, module in kind(config, task).players().items():
        make_optimiser(module, config.optimiser_of(player))
    _require_two_domains(params, args, config)


def _network(params: Params, key: str) -> Any:
    """The section of a network that segments images."""
    return params.section(key, segmentation_module(str(params.raw(f"{key}.name")), key).Config)


def _require_two_domains(params: Params, args: Namespace, config: FitConfig) -> None:
    """Refuse a training from a source domain that is not there or does not fit."""
    require_source(config, args.source is not None, f"{args.section[-1]} is given no --source in dvc.yaml")
    source, target = read_source(params), read_target(params)
    require_source(config, source.kind != NONE, "dataset.source.kind is none")
    if source.size and target.size:
        require_one_size(config, source.size, target.size, "dataset.source.size")


def _require_supervised_network(params: Params, args: Namespace, network: Section) -> None:
    """Refuse to begin a network of its own with the supervised network's weights, unless both are alike."""
    other = _network(params, "network")
    where = f"{args.section[-1]}.begin_with: found supervised, but the supervised network"
    require_same_network(network.model_dump(mode="json"), other.model_dump(mode="json"), where)


def _without_pretrained_encoder(config: FitConfig, section: str) -> FitConfig:
    """The same, its encoder (if it has one) not pretrained: weights are looked for, not read."""
    encoder: EncoderConfig | None = getattr(config, "encoder", None)
    if encoder is None:
        return config
    _require_weights(f"{section}.encoder", encoder.weights)
    return config.model_copy(update={"encoder": encoder.model_copy(update={"weights": None})})


def _class_names(params: Params) -> list[str]:
    """Those of the data set; two names where it cannot be opened, which another check reports."""
    try:
        return list(open_dataset(read_target(params)).classes)
    except UserError:
        return ["a", "b"]


def _require_weights(section: str, weights: str | None) -> None:
    if weights not in (None, *NAMED) and not Path(str(weights)).is_file():
        raise ConfigError(
            f"{section}.weights: {weights!r}: no such file; expected a state dict, torchvision, lite0 or null."
        )


def data_problems(params: Params, data: Catalogue, trained: Mapping[str, Namespace]) -> list[str]:
    """What the split, the filter and the trainings would refuse of these images; warnings are said."""
    return _told([partial(_try_split, params, data, trained), partial(_try_filter, params, data)])


def _try_filter(params: Params, data: Catalogue) -> None:
    names = data.class_names
    minimum_codes(params.section("filter", FilterConfig), names, EDGES, np.zeros((len(names), 256), np.int64))


def _try_split(params: Params, data: Catalogue, trained: Mapping[str, Namespace]) -> None:
    """Divide the images; the trainings and the fusion must find what they need in it."""
    split = divide(data, params.section("split", SplitConfig), params.section("seed", Seed))
    for warning in split.warnings:
        warn(warning)
    say(f"split: {split.summary()}")
    raise_all(
        _told([partial(_try_unlabelled, params, split, trained), partial(_try_fusion, params, data, split)]), DataError
    )


def _try_unlabelled(params: Params, split: Split, trained: Mapping[str, Namespace]) -> None:
    configs = {
        args.section[-1]: params.merged(args.section, learner_class(args.learner).schema) for args in trained.values()
    }
    require_unlabelled(configs, split)


def _try_fusion(params: Params, data: Catalogue, split: Split) -> None:
    classes = range(len(data.class_names))
    labelled = any(np.isin(classes, data.presence[name]).any() for name in split.validation)
    require_validation(params.section("fusion", FusionConfig).rule, labelled)
