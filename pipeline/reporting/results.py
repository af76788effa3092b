"""What the evaluations, the filter and the fits wrote, read back for the report and checked."""

import csv
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fewmask.core.errors import ArtefactError
from fewmask.core.progress import warn
from fewmask.drawing.palette import examples
from fewmask.reporting.bootstrap import ByImage
from fewmask.stores.images import Images
from fewmask.stores.labels import Labels
from fewmask.stores.split import Split

BASELINE = "supervised"
ROUTES = ("layer", "level", "keep", "up", "down", "open")
Table = dict[str, list[str]]


@dataclass(frozen=True)
class Method:
    """One evaluated method: ``metrics`` may hold None, ``iou`` (C,) NaN; ``pixels`` (C,) of the truth;
    ``matrix`` (C, C), row = truth, of all images, and ``by_image`` of each; ``shown``: its predictions (H, W) uint8 by
    image."""

    name: str
    metrics: dict[str, Any]
    iou: np.ndarray
    pixels: np.ndarray
    matrix: np.ndarray
    by_image: ByImage
    shown: dict[str, np.ndarray]


@dataclass(frozen=True)
class Chosen:
    """A threshold's selection: its ``summary``, the ``curve`` over all thresholds, and the table of ``classes``."""

    summary: dict[str, Any]
    curve: dict[str, np.ndarray]
    classes: dict[str, np.ndarray]


@dataclass(frozen=True)
class History:
    """``terms``: the means of what a fit logged, by ``step``."""

    name: str
    step: np.ndarray
    terms: dict[str, np.ndarray]


@dataclass(frozen=True)
class Trial:
    """One experiment with a budget: what it was asked for, a share of the cost, None without a budget; its steps; the
    mIoU and the 10^9 multiply-accumulates that an image costs in the mean, and with every gate open."""

    budget: float | None
    steps: int
    miou: float
    gmacs: float
    whole: float


@dataclass(frozen=True)
class Study:
    """Everything the report shows."""

    images: Images
    split: Split
    methods: list[Method]
    labels: Labels | None = None
    chosen: Chosen | None = None
    histories: list[History] = field(default_factory=list)
    rounds: list[Labels] = field(default_factory=list)
    routes: list[dict[str, Any]] = field(default_factory=list)  # rows of scoring/gates.py
    trials: list[Trial] = field(default_factory=list)

    @property
    def baseline(self) -> Method:
        """The method that the others are compared with: supervised, or else the first."""
        return next((method for method in self.methods if method.name == BASELINE), self.methods[0])

    @property
    def compared(self) -> list[Method]:
        return [method for method in self.methods if method is not self.baseline]


class ForeignError(ArtefactError):
    """Scores of other images or classes than those at hand."""


class _DiffersError(ValueError):
    """A value is not the one of the images at hand."""


def evaluated(folder: Path) -> list[str]:
    """The methods that have scores in the folder, the baseline first."""
    names = sorted(path.stem for path in folder.glob("*.json"))
    whole = [name for name in names if all(file.is_file() for file in method_files(folder, name))]
    return sorted(whole, key=lambda name: name != BASELINE)


def method_files(folder: Path, name: str) -> list[Path]:
    """Where evaluation left the metrics, classes, confusions and examples of a method."""
    tables = ("per_class.csv", "confusion.csv", "details/images.csv", "details/examples.png")
    return [folder / f"{name}.json", *(folder / "plots" / name / table for table in tables)]


def routes_file(folder: Path, name: str) -> Path:
    """Where evaluation left the gates of a method's network, if it has any."""
    return folder / "plots" / name / "details/routes.csv"


def read_methods(folder: Path, names: Sequence[str], images: Images, split: Split, *, named: bool) -> list[Method]:
    """The scores of every method; those of other images are left out with a warning, unless they were asked for.

    Raises:
        ArtefactError: as ``read_method``, or no scores are left.
    """
    methods = []
    for name in names:
        try:
            methods.append(read_method(folder, name, images, split))
        except ForeignError as error:
            if named:
                raise
            warn(f"{name} is left out: {error}")
    if not methods:
        raise ArtefactError(f"{folder}: no scores of these images; run 'dvc repro evaluate@supervised' first.")
    return methods


def read_method(folder: Path, name: str, images: Images, split: Split) -> Method:
    """Raises ArtefactError where a file is damaged, or was made from other classes or another split."""
    metrics, classes, confusion, each, strip = method_files(folder, name)
    size = len(images.class_names)
    with _understood(metrics):
        summary = json.loads(metrics.read_text())
        _same(summary.get("role", "test"), "test", "evaluate.role")
        _same(summary["images"], len(split.test), "evaluated images")
        if "gmacs" not in summary:
            raise ValueError("it has no gmacs")
    with _understood(classes):
        rows = _table(classes)
        _same(rows["class"], images.class_names, "classes")
        iou, pixels = _floats(rows["iou"]), _floats(rows["pixels"])
    with _understood(confusion):
        matrix = _floats(_table(confusion)["pixels"]).reshape(size, size)
    with _understood(each):
        by_image = ByImage.read(each.read_text(encoding="utf-8"))
        if not set(by_image.images) <= set(split.test):  # an image that is void all over has no row
            raise _DiffersError("scored on other images")
        _same(int(by_image.matrices.sum()), int(matrix.sum()), "pixels")
    with _understood(strip):
        shown = _shown(strip, images, split)
    return Method(name, summary, iou, pixels, matrix, by_image, shown)


def _shown(path: Path, images: Images, split: Split) -> dict[str, np.ndarray]:
    names = examples(split.test)
    with Image.open(path) as image:
        for key, digest, found in (
            ("images", images.identity, "other images"),
            ("split", split.digest, "another split"),
        ):
            if image.info.get(key) != digest:
                raise _DiffersError(f"scored on {found}")
        _same(image.mode, "P", "mode")
        stack = np.asarray(image).reshape(len(names), *images.size)
    return dict(zip(names, stack, strict=True))


def chosen_files(path: Path, folder: Path) -> list[Path]:
    """Where the filter left a selection's summary (``path``), its curve and its classes."""
    plots = folder / "plots" / "selection"
    return [path, plots / f"{path.stem}.csv", plots / f"{path.stem}_classes.csv"]


def read_chosen(path: Path, folder: Path, class_names: Sequence[str]) -> Chosen:
    """Raises ArtefactError where a file is damaged or speaks of other classes."""
    summary, curve, classes = chosen_files(path, folder)
    with _understood(summary):
        values = {**json.loads(summary.read_text())}
        values["effective_threshold"] = float(values["effective_threshold"])
    with _understood(curve):
        columns = {name: _floats(column) for name, column in _table(curve).items()}
    with _understood(classes):
        rows = _table(classes)
        _same(rows.pop("class"), list(class_names), "classes")
        by_class = {name: _floats(rows[name]) for name in ("iou", "semi_ratio", "threshold")}
    return Chosen(values, columns, by_class)


def read_history(path: Path) -> History:
    """Raises ArtefactError where the file is damaged."""
    with _understood(path):
        columns = {name: _floats(column) for name, column in _table(path).items()}
        step = columns.pop("step")
        columns.pop("rate", None)
    return History(path.stem, step, columns)


def read_routes(path: Path) -> list[dict[str, Any]]:
    """The mean gates of every cell; raises ArtefactError where the file is damaged."""
    with _understood(path):
        columns = {name: _floats(column).tolist() for name, column in _table(path).items() if name}
        if columns:
            _same(list(columns), list(ROUTES), "columns")
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        if any(math.isnan(row["open"]) for row in rows):
            raise ValueError("open: found nothing; expected a share")
        if any(not (0 <= row["layer"] <= 1000 and 0 <= row["level"] < 10) for row in rows):
            raise ValueError("layer or level: expected numbers of cells")
        if any(value < 0 or math.isinf(value) for row in rows for value in row.values()):
            raise ValueError("gates: expected numbers from 0 on")
        if any(row["open"] > 1 for row in rows):
            raise ValueError("open: expected shares, 0 to 1")
        whole = [row | {key: int(row[key]) for key in ("layer", "level")} for row in rows]
        return [{key: None if math.isnan(value) else value for key, value in row.items()} for row in whole]


def read_trials(path: Path, method: Method, split: Split) -> list[Trial]:
    """Those experiments of a file of `dvc exp show --csv` that have this split's seed and numbers of labelled and
    evaluated images, and a network that costs as much as the method's; by cost, equal ones once.

    Raises:
        ArtefactError: the file is damaged.
    """
    own = method.metrics["gmacs"]
    with _understood(path, "make sweep"):
        table = _table(path)
        keys = ("images", "labelled_images", "seed", "miou", "gmacs_mean", "gmacs")
        columns = [_floats(_column(table, f"{method.name}.json:{key}", key)).tolist() for key in keys]
        named = [name for name in table if name.endswith(f"{method.name}.budget.share")]
        shares = _floats(table[named[0]] if named else [""] * len(columns[0])).tolist()
        steps = _floats(_column(table, f"params.yaml:{method.name}.steps", f"{method.name}.steps")).tolist()
        here = (len(split.test), len(split.labelled), split.seed)
        found = {
            Trial(None if math.isnan(share) else share, int(step), miou, cost, whole)
            for share, step, *counts, miou, cost, whole in zip(shares, steps, *columns, strict=True)
            if tuple(counts) == here and 0 <= miou <= 1 and 0 < cost <= whole and math.isclose(whole, own, rel_tol=1e-3)
        }
    return sorted(found, key=lambda trial: (trial.gmacs, trial.miou, trial.budget or 1))


def _column(table: Table, *endings: str) -> list[str]:
    """The column of that name, or of a file and that name, as DVC writes it where several files have one."""
    names = [name for ending in endings for name in table if name == ending or name.endswith(f"/{ending}")]
    if not names:
        raise ValueError(f"no column {endings[-1]}")
    return table[names[0]]


def _table(path: Path) -> Table:
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    if not lines:
        raise ValueError("it is empty")
    header, *rows = lines
    return {name: [row[place] for row in rows if row] for place, name in enumerate(header)}


def _floats(column: Sequence[str]) -> np.ndarray:
    """Nothing, and what DVC writes where a file could not be read, are NaN."""
    return np.array([float(value) if value not in ("", "!") else np.nan for value in column])


def _same(found: object, expected: object, what: str) -> None:
    if found != expected:
        raise _DiffersError(f"{what}: {found}; expected {expected}")


@contextmanager
def _understood(path: Path, remake: str = "dvc repro") -> Iterator[None]:
    try:
        yield
    except _DiffersError as error:
        raise ForeignError(f"{path}: cannot be shown ({error}). Run '{remake}' to make it again.") from error
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, OSError, csv.Error) as error:
        raise ArtefactError(f"{path}: cannot be shown ({error}). Run '{remake}' to make it again.") from error
