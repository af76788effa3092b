"""Scores of finished experiments: read from git, and their means, deviations and differences over the seeds."""

import csv
import io
import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

from fewmask.core.errors import DataError
from fewmask.reporting.bootstrap import ByImage, interval

KEYS = ("miou", "mean_accuracy", "pixel_accuracy", "boundary_iou", "ece")
THRESHOLDS = (0.0, 0.7, 0.8, 0.9)  # of the auxiliary-network paper, Tables 3 and 4
Read = Callable[[str], str]  # the text of a path in one experiment
Scores = dict[str, Any]  # of one experiment: key -> a number, or more scores
Found = Mapping[str, Mapping[str, Sequence[Scores]]]  # row -> label -> scores by seed


def scores(read: Read, evaluation: str) -> Scores:
    """What one experiment's evaluation measured, with what the filter kept or the classifier dropped."""
    metrics = json.loads(read(f"metrics/{evaluation}.json"))
    found: Scores = {key: metrics[key] for key in KEYS}
    if evaluation == "auxiliary":
        found["selection"] = selection(read("metrics/plots/selection/auxiliary.csv"))
    if evaluation == "s4gan_mlmt":
        found |= dropped(read("metrics/plots/s4gan_mlmt/details/fusion.csv"))
    return found


def selection(table: str) -> dict[str, dict[str, float]]:
    """The selection measures at each of THRESHOLDS, from the curves over all thresholds."""
    curve = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(io.StringIO(table))]
    found = {}
    for at in THRESHOLDS:
        nearest = min((abs(row["threshold"] - at), number) for number, row in enumerate(curve))[1]
        found[str(at)] = {key: value for key, value in curve[nearest].items() if key != "threshold"}
    return found


def dropped(table: str) -> dict[str, float]:
    """Classes dropped from images, those among them that were there, and the mean average precision."""
    classes = list(csv.DictReader(io.StringIO(table)))
    sums = {key: sum(float(row[key]) for row in classes) for key in ("dropped", "wrongly_dropped")}
    precision = [float(row["average_precision"]) for row in classes if row["average_precision"]]
    return {**sums, "average_precision": statistics.fmean(precision)}


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, sample standard deviation (None for one value) and the values themselves."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "std": deviation, "values": list(values)}


def spreads(by_seed: Sequence[Scores]) -> dict[str, Any]:
    """The spread of every score, at every depth."""
    columns = {key: [each[key] for each in by_seed] for key in by_seed[0]}
    return {key: spreads(c) if isinstance(c[0], dict) else spread(c) for key, c in columns.items()}


def less(after: Sequence[Scores], before: Sequence[Scores]) -> dict[str, Any]:
    """The difference in mIoU by seed."""
    return spread([b["miou"] - a["miou"] for a, b in zip(before, after, strict=True)])


def pooled(tables: Sequence[str]) -> float:
    """The mIoU of the images of all seeds together, from the tables details/images.csv."""
    first, *others = tables
    return ByImage.read(first + "".join(table.partition("\n")[2] for table in others)).miou_of_all()


def less_control(name: str, method: Sequence[str], control: Sequence[str]) -> dict[str, Any]:
    """The difference in mIoU by seed and its interval, from the tables details/images.csv of both.

    Raises:
        DataError: they are of other images.
    """
    pairs = [(ByImage.read(ours), ByImage.read(theirs)) for ours, theirs in zip(method, control, strict=True)]
    try:
        found = interval(pairs)
    except DataError as error:
        raise DataError(f"{name} and its control: {error}") from error
    return {**spread(found.pop("values")), **found}


def table(found: Found, against: Iterable[str]) -> dict[str, Any]:
    """Row -> its spreads, the differences between its labels, and those to the rows ``against``, or else the first."""
    others = [name for name in against if name in found] or [next(iter(found))]
    return {name: _row(found, name, others) for name in found}


def _row(found: Found, name: str, others: list[str]) -> dict[str, Any]:
    labels = dict(found[name])
    own = labels.pop("", None)
    result = spreads(own) if own else {}
    result |= {label: spreads(by_seed) for label, by_seed in labels.items()}
    result |= {f"{after} - {before}": less(labels[after], labels[before]) for before, after in combinations(labels, 2)}
    return result | {f"less {other}": less(own, found[other][""]) for other in others if own}
