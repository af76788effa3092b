"""Run a grid of settings for several seeds as DVC experiments, and write what docs/results/index.md shows.

    python -m experiments.run s4gan --preset streets --seeds 0 1 2 --jobs 2 --set runtime.threads=1 --out FILE

Reads params.yaml, or first writes the preset there; writes FILE. The experiments stay in DVC (`dvc exp show`). A row's
control must differ in unlabelled images alone, or nothing is run. What all rows share is made before them, so that no
two jobs train the same network. Run again, it finds finished stages in DVC's run cache and goes on from checkpoints.
Costs: every training of the rows.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import dvc.api

from benchmarks.machine import describe
from experiments.controls import ROOT, override, resolved, trainings_of, with_controls
from experiments.grids import GRIDS, Grid, control_of
from experiments.scores import less_control, pooled, scores, table
from fewmask.core.errors import ConfigError, DataError
from fewmask.core.files import write_text
from fewmask.core.params import Params
from fewmask.core.progress import say
from fewmask.core.stage import run_command
from fewmask.scoring.evaluation import EvaluateConfig

PREPARE = ("prepare", "prepare-source")


@dataclass(frozen=True)
class Job:
    """One experiment a seed: what it makes, under which settings, and the rows that read their scores from it."""

    targets: tuple[str, ...]
    settings: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()


def plan(grid: Grid, rows: Sequence[str]) -> list[list[Job]]:
    """Three waves: preparations, whatever the seed; what is shared, with rows that change nothing; the other rows."""
    chosen = {name: grid.rows[name] for name in rows}
    data = [tuple(s for s in row.settings if s.startswith("dataset.")) for row in chosen.values()]
    evaluations = {name: tuple(f"evaluate@{key}" for key in row.scores.values()) for name, row in chosen.items()}
    plain = tuple(name for name, row in chosen.items() if not row.settings)
    common = dict.fromkeys([*grid.shared, *(target for name in plain for target in evaluations[name])])
    others = []
    for settings in dict.fromkeys(row.settings for row in chosen.values() if row.settings):
        names = tuple(name for name, row in chosen.items() if row.settings == settings)
        others.append(Job(tuple(target for name in names for target in evaluations[name]), settings, names))
    return [[Job(PREPARE, s) for s in dict.fromkeys([(), *data])], [Job(tuple(common), rows=plain)], others]


def experiment(job: Job, settings: Sequence[str]) -> str:
    """Run one job in a folder of DVC's own; the name of the experiment."""
    words = [word for setting in (*settings, *job.settings) for word in ("-S", override(setting))]
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "exp", "run", "--temp", *words, *job.targets]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])  # the stages' python
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, text=True, capture_output=True)
    title = f"{', '.join(job.rows or job.targets)} [{' '.join(settings)}]"
    name = re.search(r"^Ran experiment\(s\): (\S+)", done.stdout, re.MULTILINE)
    if done.returncode or not name:
        errors = re.findall(r"^error: (.+)", done.stderr, re.MULTILINE | re.IGNORECASE) or [done.stderr[-500:]]
        raise DataError(f"{title}: {errors[0].rstrip('.')}. Run the grid again after that; finished stages are kept.")
    say(f"{title}: experiment {name[1]}")
    return name[1]


def run_wave(wave: Sequence[Job], settings: Sequence[Sequence[str]], jobs: int) -> list[list[str]]:
    """Every job under each of the settings, ``jobs`` at a time; for each job the names, in the settings' order."""
    with ThreadPoolExecutor(jobs) as pool:
        futures = [[pool.submit(experiment, job, each) for each in settings] for job in wave]
        try:
            return [[future.result() for future in row] for row in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # what has begun comes to its end
            raise


def run_grid(grid: Grid, rows: Sequence[str], args: argparse.Namespace) -> dict[str, list[str]]:
    """Row -> its experiments by count of labelled images and, within it, by seed."""
    prepare, *waves = plan(grid, rows)
    run_wave(prepare, [args.set], args.jobs)
    counts = [[*args.set, f"split.labelled={count}"] for count in args.labelled] or [args.set]
    each = [[*settings, f"seed={seed}"] for settings, seed in product(counts, args.seeds)]
    made: dict[str, list[str]] = {}
    for wave in waves:
        names = run_wave(wave, each, args.jobs)
        made |= {row: by_seed for job, by_seed in zip(wave, names, strict=True) for row in job.rows}
    return {row: made[row] for row in rows}


def collect(grid: Grid, experiments: dict[str, list[str]]) -> dict[str, Any]:
    """Means, deviations, values and differences of each row, and the experiments (by seed) that they are from."""
    found, images = {}, {}
    for name, by_seed in experiments.items():
        reads = [partial(dvc.api.read, repo=str(ROOT), rev=each) for each in by_seed]
        evaluations = grid.rows[name].scores
        found[name] = {label: [scores(read, key) for read in reads] for label, key in evaluations.items()}
        if "" in evaluations:
            images[name] = [read(f"metrics/plots/{evaluations['']}/details/images.csv") for read in reads]
    rows = table(found, grid.against)
    for name, tables in images.items():
        rows[name]["pooled"] = pooled(tables)
        if control_of(name) in images:
            rows[name]["less control"] = less_control(name, tables, images[control_of(name)])
    return {name: {**rows[name], "experiments": by_seed} for name, by_seed in experiments.items()}


def natural(word: str) -> int:
    """A seed or count: a whole number from 0 on."""
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"found {word!r}; expected a whole number from 0 on")
    return int(word)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", choices=list(GRIDS))
    parser.add_argument("--preset", help="write it to params.yaml first; without, params.yaml as it is")
    parser.add_argument("--seeds", type=natural, nargs="+", default=[0, 1, 2])
    parser.add_argument("--labelled", type=natural, nargs="+", default=[], help="counts, instead of split.labelled")
    parser.add_argument("--rows", nargs="+", help="rows of the result; a wrong one lists all")
    parser.add_argument("--jobs", type=int, default=1, help="experiments at a time")
    parser.add_argument("--set", nargs="*", default=[], help="params to change, key=value; written into the result")
    parser.add_argument("--out", type=Path, required=True)
    return parser


def put_preset(name: str) -> None:
    """Write a preset to params.yaml; leave as the command leaves if it refuses, and says why."""
    done = subprocess.run([sys.executable, "-m", "stages.preset", name], cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def require_sections(settings: Sequence[str]) -> None:
    """Refuse a setting of a section that params.yaml does not have."""
    known = Params(ROOT / "params.yaml").keys()
    for setting in settings:
        if "=" not in setting and not setting.startswith("~"):
            raise ConfigError(f"--set {setting}: found no '='; expected key=value. Add the value.")
        section = setting.lstrip("~+").partition("=")[0].partition(".")[0]
        if section not in known:
            raise ConfigError(f"--set {setting}: params.yaml has no '{section}'; expected one of {', '.join(known)}.")


def header(args: argparse.Namespace) -> dict[str, Any]:
    """What was asked for, on which images it is scored, and where."""
    settings = [setting for setting in args.set if not setting.startswith("dataset.root")]
    asked = {"grid": args.grid, "preset": args.preset, "seeds": args.seeds, "set": settings, "jobs": args.jobs}
    role = resolved(args.set).section("evaluate", EvaluateConfig).role
    return {**asked, "role": role, "machine": describe()}


def about(grid: Grid, name: str, settings: Sequence[str]) -> dict[str, Any]:
    """A row's settings and the trainings that lead to its scores."""
    row = grid.rows[name]
    return {
        "settings": row.settings,
        "trainings": trainings_of(resolved([*settings, *row.settings]), row.scores.values()),
    }


def main() -> None:
    parser = arguments()
    args = parser.parse_args()
    grid = GRIDS[args.grid]
    rows = args.rows or list(grid.default)
    unknown = [name for name in rows if name not in grid.rows]
    if unknown:
        parser.error(f"--rows: {unknown} is not among {list(grid.rows)}")
    if args.jobs < 1:
        raise ConfigError(f"--jobs: found {args.jobs}; expected 1 or more experiments at a time.")
    if args.preset:
        put_preset(args.preset)
    require_sections(args.set)
    grid = with_controls(grid, rows, args.set)
    rows = [name for row in rows for name in (row, control_of(row)) if name in grid.rows]
    head = {**header(args), "rows": {name: about(grid, name, args.set) for name in rows}}
    made = run_grid(grid, rows, args)
    by_count = {}
    for number, count in enumerate(args.labelled or [resolved(args.set).raw("split.labelled")]):
        part = slice(number * len(args.seeds), (number + 1) * len(args.seeds))
        by_count[str(count)] = collect(grid, {name: names[part] for name, names in made.items()})
    write_text(args.out, json.dumps({**head, "labelled": by_count}, indent=1) + "\n")
    say(f"{args.out}: {len(rows)} rows over seeds {', '.join(map(str, args.seeds))}")


if __name__ == "__main__":
    run_command(main)
