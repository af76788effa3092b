"""Score a published model on the evaluated images of the split.

Reads a model, data/images.h5, data/split.json and params `seed` and `evaluate`; writes metrics/<name>.json and, beside
it, the tables per class and of confusions, and a few predictions as one palette PNG. With --tagger it scores the fusion
of the two networks, reads `fusion`, too, and adds the table of dropped classes. With --routes it adds the table and the
picture of the ways that images take through a routing network. Costs: one forward pass an image.
"""

import argparse
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from fewmask.core.files import metrics_json, rows_csv
from fewmask.core.params import Params, Seed
from fewmask.core.progress import say
from fewmask.core.stage import run_command, stage
from fewmask.drawing.gate_grid import drawing
from fewmask.drawing.palette import examples, palette_image
from fewmask.nets.base.device import start
from fewmask.prediction.fusion import FusionConfig
from fewmask.prediction.predictor import Predictor
from fewmask.scoring.dropped import Recorder
from fewmask.scoring.evaluation import EvaluateConfig, cost, evaluate
from fewmask.scoring.gates import gates_of_all, recorded, rows
from fewmask.stores.images import Images
from fewmask.stores.split import Split


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.evaluate", description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--images", type=Path, default=Path("data/images.h5"))
    parser.add_argument("--split", type=Path, default=Path("data/split.json"))
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--tagger", type=Path, help="a classifier of whole images, fused as `fusion` says")
    parser.add_argument(
        "--routes", type=Path, help="a .csv for the mean gates of a routing network; a .svg goes beside it"
    )
    roles = ("test", "validation")
    parser.add_argument("--role", choices=roles, default="test", help="validation: for choices, tuning")
    parser.add_argument("--out", type=Path, required=True, help="metrics/NAME.json")
    parser.add_argument("--plots", type=Path, required=True, help="folder for the tables and examples.png")
    return parser


def keys(args: argparse.Namespace) -> tuple[str, ...]:
    """What this node reads of params.yaml, as dvc.yaml declares it."""
    return ("seed", "evaluate", "fusion") if args.tagger else ("seed", "evaluate")


def main() -> None:
    args = arguments().parse_args()
    params = Params(args.params)
    _, device = start(params)
    inputs = [path for path in (args.images, args.split, args.model, args.tagger) if path]
    with Images(args.images) as images, stage(args.out, params, keys(args), inputs) as run:
        split = Split.load(args.split)
        predictor = (
            Recorder(args.model, args.tagger, run.section("fusion", FusionConfig), device)
            if args.tagger
            else Predictor(args.model, device=device)
        )
        predictor.require(images, args.model)
        if isinstance(predictor, Recorder):
            predictor.choose(images, split.validation)
        names = split.test if args.role == "test" else split.validation
        config: EvaluateConfig = run.section("evaluate", EvaluateConfig)
        with recorded(predictor.model.net) as seen:
            scores = evaluate(predictor, images, names, config, run.name)
        gates = gates_of_all(seen)
        counts = {"labelled_images": len(split.labelled), "seed": run.section("seed", Seed)}
        metrics = {**scores.metrics(), **cost(predictor, config.resolution, gates), **counts}
        tables = {"per_class": scores.per_class(images.class_names), "confusion": scores.pairs(images.class_names)}
        if isinstance(predictor, Recorder):
            tables["fusion"] = predictor.table(images, names)
        strip = np.concatenate([scores.labels[name] for name in examples(names)])
        with ExitStack() as stack:
            stack.enter_context(run.publishing(args.out)).write_text(metrics_json(metrics))
            for name, table in tables.items():
                stack.enter_context(run.publishing(args.plots / f"{name}.csv")).write_text(rows_csv(table))
            picture = stack.enter_context(run.publishing(args.plots / "examples.png"))
            palette_image(strip, images.colours).save(picture, "PNG")
            if args.routes:
                table = rows(predictor.model.net, gates)
                stack.enter_context(run.publishing(args.routes)).write_text(rows_csv(table))
                stack.enter_context(run.publishing(args.routes.with_suffix(".svg"))).write_text(drawing(table))
    say(f"{args.out}: mIoU {metrics['miou']:.4f} on {metrics['images']} images")


if __name__ == "__main__":
    run_command(main)
