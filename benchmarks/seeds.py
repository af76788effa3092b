"""Run a preset for several seeds and write the means and spreads that docs/results.md shows.

    python -m benchmarks.seeds --preset streets --seeds 0 1 2 --folder runs/streets --jobs 2 --set runtime.threads=1

Each seed runs in a folder of its own (benchmarks/graph.py) and goes on where it was when it is run again.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.machine import describe

ROOT = Path(__file__).resolve().parents[1]
METHODS = ("supervised", "auxiliary")
THRESHOLDS = (0.0, 0.7, 0.8, 0.9)  # of the auxiliary-network paper, Tables 3 and 4


def run(folder: Path, preset: str, seed: int, settings: list[str]) -> None:
    """One seed of a preset in its own folder."""
    command = [sys.executable, "-m", "benchmarks.graph", "--preset", preset]
    command += ["--folder", str(folder / str(seed)), "--set", f"seed={seed}", *settings]
    subprocess.run(command, cwd=ROOT, check=True)


def spread(values: list[float]) -> dict[str, Any]:
    """Mean, sample standard deviation and the values themselves."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "std": deviation, "values": values}


def collect(folder: Path, seeds: list[int]) -> dict[str, Any]:
    """Scores of every method, their differences to supervised, selection measures, and minutes."""
    scores = {m: [json.loads((folder / f"{s}/metrics/{m}.json").read_text()) for s in seeds] for m in METHODS}
    keys = ("miou", "mean_accuracy", "pixel_accuracy", "boundary_iou", "ece")
    result: dict[str, Any] = {m: {k: spread([row[k] for row in rows]) for k in keys} for m, rows in scores.items()}
    pairs = zip(scores["supervised"], scores["auxiliary"], strict=True)
    result["auxiliary_minus_supervised"] = spread([after["miou"] - before["miou"] for before, after in pairs])
    result["labelled_images"] = scores["supervised"][0]["labelled_images"]
    result["selection"] = {str(t): selection(folder, seeds, t) for t in THRESHOLDS}
    seconds = [{p.name: float(p.read_text()) for p in sorted((folder / f"{s}/done").iterdir())} for s in seeds]
    result["seconds"] = {name: spread([row[name] for row in seconds]) for name in seconds[0]}
    return result


def selection(folder: Path, seeds: list[int], threshold: float) -> dict[str, Any]:
    """The selection measures at one threshold, from the curves over all thresholds."""
    rows = []
    for seed in seeds:
        with (folder / f"{seed}/metrics/plots/selection/auxiliary.csv").open() as file:
            rows.append(min(csv.DictReader(file), key=lambda row: abs(float(row["threshold"]) - threshold)))
    return {key: spread([float(row[key]) for row in rows]) for key in rows[0] if key != "threshold"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=1, help="seeds at a time")
    parser.add_argument("--set", nargs="*", default=[], help="params to change, key=value; written into the result")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(lambda seed: run(args.folder.resolve(), args.preset, seed, args.set), args.seeds))
    settings = [entry for entry in args.set if not entry.startswith("dataset.root")]
    head = {"preset": args.preset, "seeds": args.seeds, "set": settings, "jobs": args.jobs, "machine": describe()}
    out = args.out or ROOT / f"benchmarks/results/{args.preset}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({**head, **collect(args.folder, args.seeds)}, indent=1) + "\n")
    print(out.read_text())


if __name__ == "__main__":
    main()
