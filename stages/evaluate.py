"""Score a published model on the evaluated images of the split.

Reads a model, data/images.h5, data/split.json and params `seed` and `evaluate`; writes metrics/<name>.json and, beside
it, the tables per class and of confusions, and a few predictions as one palette PNG. Costs: one forward pass an image.
"""

import argparse
from pathlib import Path

import numpy as np

from pipeline.core.params import Params, Seed
from pipeline.core.progress import say
from pipeline.core.runtime import start
from pipeline.core.stage import run_command, stage
from pipeline.core.tables import metrics_json, rows_csv
from pipeline.datasets.split import Split
from pipeline.nets.predict import Predictor
from pipeline.reporting.palette import examples, palette_image
from pipeline.scoring.evaluation import EvaluateConfig, cost, evaluate
from pipeline.stores.images import Images

KEYS = ("seed", "evaluate")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.evaluate", description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--images", type=Path, default=Path("data/images.h5"))
    parser.add_argument("--split", type=Path, default=Path("data/split.json"))
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument(
        "--role", choices=("test", "validation"), default="test", help="validation: for choices, tuning"
    )
    parser.add_argument("--out", type=Path, required=True, help="metrics/NAME.json")
    parser.add_argument(
        "--plots", type=Path, required=True, help="folder for per_class.csv, confusion.csv, examples.png"
    )
    return parser


def main() -> None:
    args = arguments().parse_args()
    params = Params(args.params)
    _, device = start(params)
    with (
        Images(args.images) as images,
        stage(args.out, params, KEYS, [args.images, args.split, args.model]) as run,
    ):
        split = Split.load(args.split)
        predictor = Predictor(args.model, device=device)
        predictor.require(images, args.model)
        names = split.test if args.role == "test" else split.validation
        scores = evaluate(predictor, images, names, run.section("evaluate", EvaluateConfig), run.name)
        counts = {"labelled_images": len(split.labelled), "seed": run.section("seed", Seed)}
        metrics = {**scores.metrics(), **cost(predictor), **counts}
        strip = np.concatenate([scores.labels[name] for name in examples(names)])
        outs = (args.out, *(args.plots / name for name in ("per_class.csv", "confusion.csv", "examples.png")))
        with (
            run.publishing(outs[0]) as summary,
            run.publishing(outs[1]) as classes,
            run.publishing(outs[2]) as pairs,
            run.publishing(outs[3]) as picture,
        ):
            summary.write_text(metrics_json(metrics))
            classes.write_text(rows_csv(scores.per_class(images.class_names)))
            pairs.write_text(rows_csv(scores.pairs(images.class_names)))
            palette_image(strip, images.colours).save(picture, "PNG")
    say(f"{args.out}: mIoU {metrics['miou']:.4f} on {metrics['images']} images")


if __name__ == "__main__":
    run_command(main)
