"""Variants of a method for several seeds, as its paper's ablations have them; docs/results.md shows the results.

    python -m benchmarks.variants s4gan --preset streets --seeds 0 1 2 --folder runs/s4gan --set runtime.threads=1

Each part of a method (benchmarks/methods.py) has a folder of its own for each seed, FOLDER/PART/SEED, in which the
commands of dvc.yaml are run (benchmarks/graph.py). What all parts share is made once, in the folder of ``base``, and
linked into the others. Run again, it goes on where it was, and what is done stays done: other settings, or another
role, need another folder.
"""

import argparse
import csv
import json
import os
import signal
import statistics
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.graph import evaluate, evaluation, nodes, override, run, stop
from benchmarks.machine import describe
from benchmarks.methods import METHODS, Method
from benchmarks.seeds import spread
from fewmask.checking.presets import read_preset

ROOT = Path(__file__).resolve().parents[1]
KEYS = ("miou", "mean_accuracy", "pixel_accuracy", "boundary_iou", "ece")
SPLIT = ("labelled", "unlabelled", "validation", "test")


@dataclass(frozen=True)
class Runs:
    """One call's choice: what is run where."""

    method: Method
    preset: str
    folder: Path
    settings: list[str]
    role: str
    through: int | None

    def place(self, name: str, seed: int) -> Path:
        return self.folder / name.replace(" ", "_") / str(seed)

    def scores(self, name: str) -> dict[str, tuple[str, ...]]:
        """Those of a part, of ablations no more than ``through``."""
        most = None if name == self.method.base else self.through
        return dict(list(self.method.parts[name].scores.items())[:most])

    def stages(self, name: str, seed: int, targets: list[str]) -> None:
        """Run the targets, and what they need, under the params of a part."""
        params = YAML(typ="safe").load(read_preset(self.preset))
        for assignment in [f"seed={seed}", *self.settings, *self.method.parts[name].settings]:
            override(params, assignment)
        run(self.place(name, seed), params, targets, self.role)

    def share(self, seed: int) -> None:
        """Make what all parts share."""
        self.stages(self.method.base, seed, list(self.method.shared))

    def make(self, name: str, seed: int) -> None:
        """Take over what others made, run what is left, and score it."""
        part, here, base = self.method.parts[name], self.place(name, seed), self.place(self.method.base, seed)
        if name != self.method.base:
            for stage in self.method.shared:
                if stage not in part.own:
                    link(base, here, stage)
            for other, stage in part.takes.items():
                link(self.place(other, seed), here, stage)
        self.stages(name, seed, ["split"])
        require_same_split(base, here)
        maker = {out: stage for stage, node in nodes().items() for out in node["outs"]}
        scored = [maker[f"models/{model}.safetensors"] for models in self.scores(name).values() for model in models]
        self.stages(name, seed, [*part.makes, *scored])
        for models in self.scores(name).values():
            evaluate(here, *models, role=self.role)


def link(source: Path, target: Path, stage: str) -> None:
    """Link what a stage made, then its mark of being done, into another folder."""
    for name in [*nodes()[stage]["outs"], f"done/{stage}"]:
        absent = not (source / name).exists() and name.startswith("metrics")  # of a model that was copied there by hand
        if not (absent or (target / name).exists()):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            os.link((source / name).resolve(), target / name)


def require_same_split(base: Path, here: Path) -> None:
    """Refuse to compare trainings on different images."""
    one, other = (json.loads((place / "data/split.json").read_text()) for place in (base, here))
    differing = [key for key in SPLIT if one[key] != other[key]]
    if differing:
        raise SystemExit(f"{here}/data/split.json: other {', '.join(differing)} images than in {base}; remove both.")


def run_all(runs: Runs, rows: list[str], seeds: list[int], jobs: int) -> None:
    """Every part that the rows need, ``jobs`` at a time: each after what it takes, which was begun before it."""
    with ThreadPoolExecutor(jobs) as pool:
        shared = {seed: pool.submit(runs.share, seed) for seed in seeds}
        made: dict[tuple[str, int], Future[None]] = {}

        def make(name: str, seed: int, before: list[Future[None]]) -> None:
            for future in before:
                future.result()
            runs.make(name, seed)

        try:
            for seed in seeds:
                for name in runs.method.needed(rows):
                    before = [shared[seed], *(made[other, seed] for other in runs.method.parts[name].takes)]
                    made[name, seed] = pool.submit(make, name, seed, before)
            for future in as_completed([*shared.values(), *made.values()]):
                future.result()
        finally:
            for future in [*shared.values(), *made.values()]:
                future.cancel()


def collect(runs: Runs, rows: list[str], seeds: list[int]) -> dict[str, Any]:
    """Mean, deviation and values of the scores of every row, of differences by seed, and of seconds a stage."""
    found = {name: read(runs, name, seeds) for name in runs.method.rows if name in rows or complete(runs, name, seeds)}
    against = [name for name in runs.method.against if name in found] or rows[:1]
    result: dict[str, Any] = {}
    for name in rows:
        scores = {label: {key: spread(v) for key, v in table.items()} for label, table in found[name].items()}
        result[name] = scores.pop("", {}) | scores
        for before, after in combinations(scores, 2):
            result[name][f"{after} - {before}"] = less(found[name][after], found[name][before])
        if "" in found[name]:
            result[name] |= {f"less {other}": less(found[name][""], found[other][""]) for other in against}
        marks = [{p.name: p.read_text() for p in sorted((runs.place(name, s) / "done").iterdir())} for s in seeds]
        timed = [stage for stage in marks[0] if all(row.get(stage, "").strip() for row in marks)]
        result[name]["seconds"] = {stage: spread([float(row[stage]) for row in marks]) for stage in timed}
    return result


def less(after: dict[str, list[float]], before: dict[str, list[float]]) -> dict[str, Any]:
    """The difference in mIoU by seed."""
    return spread([b - a for a, b in zip(before["miou"], after["miou"], strict=True)])


def complete(runs: Runs, name: str, seeds: list[int]) -> bool:
    """Whether a row was scored before, for all seeds."""
    marks = [f"done/evaluate@{evaluation(*models)}" for models in runs.scores(name).values()]
    return all((runs.place(name, seed) / mark).exists() for mark in marks for seed in seeds)


def read(runs: Runs, name: str, seeds: list[int]) -> dict[str, dict[str, list[float]]]:
    """Label -> score -> values by seed; with a tagger also what it dropped."""
    result: dict[str, dict[str, list[float]]] = {}
    for label, models in runs.scores(name).items():
        places = [runs.place(name, seed) / "metrics" for seed in seeds]
        scores = [json.loads((place / f"{evaluation(*models)}.json").read_text()) for place in places]
        result[label] = {key: [row[key] for row in scores] for key in KEYS}
        tables = [place / "plots" / evaluation(*models) / "fusion.csv" for place in places] if models[1:] else []
        for dropped in map(totals, tables):
            for key, value in dropped.items():
                result[label].setdefault(key, []).append(value)
    return result


def totals(table: Path) -> dict[str, float]:
    """Classes dropped from images, those among them that were there, and the mean average precision."""
    with table.open() as file:
        classes = list(csv.DictReader(file))
    sums = {key: sum(float(row[key]) for row in classes) for key in ("dropped", "wrongly_dropped")}
    precision = [float(row["average_precision"]) for row in classes if row["average_precision"]]
    return {**sums, "average_precision": statistics.fmean(precision)}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=list(METHODS))
    parser.add_argument("--preset", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", help="rows of the result; a wrong one lists all")
    parser.add_argument("--through", type=int, choices=(2, 3), help="three_stage: the last stage of ablations")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--role", choices=("test", "validation"), default="test", help="what is scored")
    parser.add_argument("--set", nargs="*", default=[], help="params to change, key=value; written into the result")
    parser.add_argument("--out", type=Path)
    return parser


def main() -> None:
    parser = arguments()
    args = parser.parse_args()
    method = METHODS[args.method]
    rows = args.variants or list(method.default)
    unknown = [name for name in rows if name not in method.rows]
    if unknown:
        parser.error(f"--variants: {unknown} is not among {method.rows}")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    runs = Runs(method, args.preset, args.folder.resolve(), args.set, args.role, args.through)
    nodes()  # read before there are threads
    run_all(runs, rows, args.seeds, args.jobs)
    head = {"method": args.method, "preset": args.preset, "seeds": args.seeds, "role": args.role}
    head |= {"set": [s for s in args.set if not s.startswith("dataset.root")], "jobs": args.jobs}
    result = {**head, "machine": describe(), **collect(runs, rows, args.seeds)}
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    for name in rows:
        scores = {label or "mIoU": table["miou"] for label, table in read(runs, name, args.seeds).items()}
        print(f"{name:26}", {label: [round(100 * value, 1) for value in values] for label, values in scores.items()})


if __name__ == "__main__":
    main()
