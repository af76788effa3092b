"""Stages 1, 2, 3 and the ablations of three-stage self-training, for several seeds; docs/results.md shows the result.

    python -m benchmarks.three_stage --preset streets --seeds 0 1 2 --folder runs/streets --set runtime.threads=1

Each seed has a folder of its own (benchmarks/graph.py); an ablation takes over stage 1 from the full method's. Both go
on where they were when run again.
"""

import argparse
import json
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.graph import evaluate, override, run
from benchmarks.machine import describe
from benchmarks.seeds import spread

ROOT = Path(__file__).resolve().parents[1]
SHARED = ("prepare", "split", "supervised", "supervised-label")
STAGES = {"S1": "supervised", "S2": "three_stage_2", "S3": "three_stage"}
ABLATIONS = {
    "full": [],
    "without CR": ["three_stage.recipe.lambda_1=0"],
    "without T2": ["three_stage.recipe.lambda_2=0"],
    "without SA": ["three_stage.recipe.strong=null"],
    "without N2": ["three_stage.stage_3.branch={own_blocks: 2, width: 0.5}"],
    "without EMA": ["three_stage.recipe.decay=[[0, 0]]"],
}
KEYS = ("miou", "mean_accuracy", "pixel_accuracy", "boundary_iou", "ece")


def one(folder: Path, preset: Path, seed: int, variant: str, settings: list[str], role: str, through: int) -> None:
    """One seed of one variant: trainings as far as stage ``through``, and the scores of every stage until there."""
    here = folder / variant.replace(" ", "_") / str(seed)
    if variant != "full":
        share(folder / "full" / str(seed), here)
    params = YAML(typ="safe").load(preset.read_text())
    for assignment in [f"seed={seed}", *settings, *ABLATIONS[variant]]:
        override(params, assignment)
    run(here, params, [f"three_stage-{through}"], role)
    for model in list(STAGES.values())[:through]:
        evaluate(here, model, role)


def share(source: Path, target: Path) -> None:
    """Link what the shared stages made, and their marks of being done, into another folder."""
    files = ["data/images.h5", "data/split.json", "models/supervised.safetensors", "data/labels/supervised.h5"]
    for name in [*files, *(f"done/{stage}" for stage in SHARED)]:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if not (target / name).exists():
            os.link(source / name, target / name)


def collect(folder: Path, variants: list[str], seeds: list[int]) -> dict[str, Any]:
    """Mean, deviation and values of every score of every stage of every variant, and seconds a stage."""
    result: dict[str, Any] = {}
    for variant in variants:
        here = folder / variant.replace(" ", "_")
        scores = {
            stage: [json.loads((here / f"{seed}/metrics/{model}.json").read_text()) for seed in seeds]
            for stage, model in STAGES.items()
            if (here / f"{seeds[-1]}/metrics/{model}.json").exists()
        }
        result[variant] = {
            stage: {key: spread([row[key] for row in rows]) for key in KEYS} for stage, rows in scores.items()
        }
        for before, after in combinations(scores, 2):
            pairs = zip(scores[before], scores[after], strict=True)
            result[variant][f"{after} - {before}"] = spread([b["miou"] - a["miou"] for a, b in pairs])
        seconds = [{p.name: float(p.read_text()) for p in sorted((here / f"{s}/done").iterdir())} for s in seeds]
        result[variant]["seconds"] = {name: spread([row[name] for row in seconds]) for name in seconds[0]}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", default=["full"], choices=list(ABLATIONS))
    parser.add_argument("--through", type=int, choices=(2, 3), default=3, help="the last stage of ablations")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--role", choices=("test", "validation"), default="test", help="what is scored")
    parser.add_argument("--set", nargs="*", default=[], help="params to change, key=value; written into the result")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    preset = ROOT / f"presets/{args.preset}.yaml"
    with ThreadPoolExecutor(args.jobs) as pool:
        for group in (["full"], [v for v in args.variants if v != "full"]):  # an ablation needs the full one's stage 1
            todo = [(seed, variant, args.set, args.role) for variant in group for seed in args.seeds]
            last = 3 if group == ["full"] else args.through
            list(pool.map(lambda item, last=last: one(args.folder, preset, *item, last), todo))
    settings = [entry for entry in args.set if not entry.startswith("dataset.root")]
    head = {"preset": args.preset, "seeds": args.seeds, "role": args.role, "set": settings, "jobs": args.jobs}
    result = {**head, "machine": describe(), **collect(args.folder, args.variants, args.seeds)}
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    for variant in args.variants:
        scores = {stage: result[variant][stage]["miou"] for stage in STAGES if stage in result[variant]}
        print(
            f"{variant:12}",
            {s: (round(100 * v["mean"], 1), [round(100 * x, 1) for x in v["values"]]) for s, v in scores.items()},
        )


if __name__ == "__main__":
    main()
