"""The terms of the contrastive method one after another (Table 5 of its paper), and adaptation, for several seeds.

    python -m benchmarks.contrastive --preset streets --folder runs/contrastive --set runtime.threads=1

Every variant is the same training with other terms switched off; it goes on where it was when it is run again.
"""

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.graph import override, run
from benchmarks.machine import describe
from benchmarks.seeds import spread

ROOT = Path(__file__).resolve().parents[1]
VARIANTS = {
    "supervised": ["contrastive.lambda_pseudo=0", "contrastive.lambda_ent=0", "contrastive.lambda_contr=0"],
    "pseudo": ["contrastive.lambda_ent=0", "contrastive.lambda_contr=0"],
    "pseudo, entropy": ["contrastive.lambda_contr=0"],
    "full": [],
    "full, 1024 pixels a class": ["contrastive.contrast.max_pixels_per_class=1024"],
    "adaptation": ["contrastive.source=0.5"],
}
KEYS = ("miou", "mean_accuracy", "pixel_accuracy", "boundary_iou", "ece")


def one(here: Path, preset: Path, seed: int, settings: list[str], role: str) -> None:
    """One seed of one variant in a folder of its own."""
    params = YAML(typ="safe").load(preset.read_text())
    for assignment in [f"seed={seed}", *settings]:
        override(params, assignment)
    run(here, params, ["evaluate@contrastive"], role)


def collect(folders: dict[str, list[Path]], against: str) -> dict[str, Any]:
    """Mean, deviation and values of every score, the difference to the first variant's by seed, and seconds."""
    scores = {
        name: [json.loads((here / "metrics/contrastive.json").read_text()) for here in places]
        for name, places in folders.items()
    }
    result: dict[str, Any] = {}
    for name, rows in scores.items():
        result[name] = {key: spread([row[key] for row in rows]) for key in KEYS}
        pairs = zip(scores[against], rows, strict=True)
        result[name][f"less {against}"] = spread([after["miou"] - before["miou"] for before, after in pairs])
        seconds = [float((here / "done/contrastive").read_text()) for here in folders[name]]
        result[name]["seconds"] = spread(seconds)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS)[:4], choices=list(VARIANTS))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--role", choices=("test", "validation"), default="test", help="what is scored")
    parser.add_argument("--set", nargs="*", default=[], help="params to change, key=value; written into the result")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    preset = ROOT / f"presets/{args.preset}.yaml"
    folders = {name: [args.folder / name.replace(" ", "_") / str(s) for s in args.seeds] for name in args.variants}
    with ThreadPoolExecutor(args.jobs) as pool:
        todo = [(place[i], preset, seed, [*args.set, *VARIANTS[name]], args.role)
                for i, seed in enumerate(args.seeds) for name, place in folders.items()]  # fmt: skip
        list(pool.map(lambda item: one(*item), todo))
    settings = [entry for entry in args.set if not entry.startswith("dataset.root")]
    head = {"preset": args.preset, "seeds": args.seeds, "role": args.role, "set": settings, "jobs": args.jobs}
    result = {**head, "machine": describe(), **collect(folders, args.variants[0])}
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    for name in args.variants:
        found = result[name]["miou"]
        print(f"{name:26} {100 * found['mean']:.1f}", [round(100 * value, 1) for value in found["values"]])


if __name__ == "__main__":
    main()
