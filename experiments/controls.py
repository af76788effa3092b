"""Before a grid is run: the params of its rows, their trainings, and whether a control differs as a control may."""

import shutil
import tempfile
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.utils.hydra import apply_overrides

from experiments.grids import UNLABELLED_KEYS, Grid, Row, control_of
from fewmask.checking.checks import Nodes, trainings
from fewmask.checking.graph import nodes
from fewmask.core.errors import ConfigError
from fewmask.core.params import Params
from fewmask.learning.recipe import begins_supervised, learner_class
from stages import fit

ROOT = Path(__file__).resolve().parents[1]
TRUE = "{true}"
ABSENT = "nothing"
Trainings = dict[str, dict[str, int | None]]


def override(setting: str) -> str:
    """`key=value` as DVC takes it, whether the key is there or not; what is marked with ~ or + stays as it is."""
    return setting if setting[0] in "~+" else f"++{setting}"


def resolved(settings: Sequence[str]) -> Params:
    """params.yaml as an experiment with these settings would have it; DVC itself changes a copy.

    Raises:
        ConfigError: DVC does not take a setting.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        shutil.copyfile(ROOT / path.name, path)
        try:
            apply_overrides(path, [override(setting) for setting in settings])
        except DvcException as error:
            reason = " ".join(str(error.__cause__ or error).split()).rstrip(".")
            raise ConfigError(f"{' '.join(settings)}: {reason}; expected settings of params.yaml. Fix it.") from error
        params = Params(path)
    params.path = Path(path.name)  # that of its messages
    return params


def trainings_of(params: Params, evaluations: Iterable[str]) -> Trainings:
    """Training that leads to these evaluations, the last one first -> its steps and labelled views.

    Labelled views are images with true masks; where true and pseudo-labelled ones are one shuffled set, their number is
    None. What a network may begin with counts only where it does.
    """
    graph, fits = _graph()
    made = {str(out): name for name, node in graph.items() for out in node.get("outs", [])}
    found: Trainings = {}
    left = [f"models/{evaluation}.safetensors" for evaluation in evaluations]
    while left:
        name = made.pop(left.pop(0), "")
        inputs = list(graph[name]["deps"]) if name else []
        if name in fits:
            args = fits[name]
            config = params.merged(args.section, learner_class(args.learner).schema)
            pseudo = getattr(config, "pseudo", None) if args.join else 0
            views = None if pseudo is None else config.steps * (config.batch - pseudo)
            found[name] = {"steps": config.steps, "labelled_views": views}
            inputs = [path for path in inputs if path != str(args.start) or begins_supervised(config)]
        left += inputs
    return found


@cache
def _graph() -> tuple[Nodes, dict[str, Namespace]]:
    """The nodes of dvc.yaml, and the arguments of those that train."""
    graph = nodes(ROOT / "dvc.yaml")
    return graph, trainings(graph, fit.arguments())


def with_controls(grid: Grid, rows: Sequence[str], settings: Sequence[str]) -> Grid:
    """The grid and a control for each of these rows that has one, compared with its method.

    Raises:
        ConfigError: as ``require_control``; or a control needs a number of true labels that is not fixed.
    """
    controls = {}
    for name in rows:
        row = grid.rows[name]
        if row.control:
            method = resolved([*settings, *row.settings])
            more = [_filled(setting, name, trainings_of(method, row.scores.values())) for setting in row.control]
            control = Row((*row.settings, *more), row.scores)
            require_control(name, row, method, resolved([*settings, *control.settings]))
            controls[control_of(name)] = control
    return replace(grid, rows={**grid.rows, **controls})


def _filled(setting: str, name: str, leading: Trainings) -> str:
    """A control's setting, with the true labels of one step of its method's last training."""
    if TRUE not in setting:
        return setting
    last = next(iter(leading.values()))
    steps, views = last["steps"], last["labelled_views"]
    if steps is None or views is None:
        section = setting.partition("=")[0].rpartition(".")[0]
        found = f"{name}: {section}.pseudo is null, so no step has a fixed number of true labels"
        raise ConfigError(f"{found}; expected a number, which its control has too. Set {section}.pseudo.")
    return setting.replace(TRUE, str(views // steps))


def require_control(name: str, row: Row, method: Params, control: Params) -> None:
    """Refuse a control that differs from its method in anything but unlabelled images, or in nothing.

    Raises:
        ConfigError: with the key, or the training, and both values.
    """
    ours, theirs = (dict(_flat(params)) for params in (method, control))
    differing = sorted(key for key in ours | theirs if ours.get(key, ABSENT) != theirs.get(key, ABSENT))
    for key in differing:
        if key not in UNLABELLED_KEYS:
            found = f"{name}: {key} is {ours.get(key, ABSENT)!r}, but {theirs.get(key, ABSENT)!r} in its control"
            remedy = f"Take {key} out of the control's settings in experiments/grids.py."
            raise ConfigError(f"{found}; expected a difference in {', '.join(UNLABELLED_KEYS)} alone. {remedy}")
    if not differing:
        keys = ", ".join(setting.partition("=")[0] for setting in row.control)
        found = f"{name}: its control has the same params; expected another {keys}"
        raise ConfigError(f"{found}. Let the method see unlabelled images, or leave its row out.")
    views, seen = (trainings_of(params, row.scores.values()) for params in (method, control))
    for training in views:
        count, other = (each[training]["labelled_views"] for each in (views, seen))
        if count != other:
            found = f"{name}: {training} has {count} labelled views, but {other} in its control; expected as many"
            raise ConfigError(f"{found}. Let the control's batch be the method's true labels a step.")


def _flat(params: Params) -> Iterator[tuple[str, Any]]:
    """Every dotted key and its value; a list is a value."""
    left = [(key, params.raw(key)) for key in params.keys()]  # noqa: SIM118
    while left:
        key, value = left.pop()
        if isinstance(value, dict) and value:
            left += [(f"{key}.{name}", inner) for name, inner in value.items()]
        else:
            yield key, value
