"""Score a published model on the images of a role of the split: the test images, or those of validation.

Reads a model, data/images.h5, data/split.json and params `seed` and `evaluate`. Writes metrics/NAME.json and, in a
folder beside it, per_class.csv, confusion.csv and details/. details/ has the confusion of each image and a few
predictions as one palette PNG. Of a routing network it also has the gates that images open, of a fused one the classes
that it drops. Costs: one forward pass an image.
"""

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

import numpy as np
from PIL.Image import Image

from fewmask.core.errors import DataError
from fewmask.core.files import metrics_json, rows_csv
from fewmask.core.params import Params, Seed
from fewmask.core.progress import say
from fewmask.core.stage import Run, run_command, stage
from fewmask.drawing.gate_grid import drawing
from fewmask.drawing.palette import examples, palette_image, save_strip
from fewmask.fusion import dropped
from fewmask.nets.base.device import start
from fewmask.prediction.predictor import Predictor
from fewmask.scoring import gates
from fewmask.scoring.evaluation import EvaluateConfig, Role, cost, evaluate
from fewmask.stores.images import Images
from fewmask.stores.split import Split

KEYS = ("seed", "evaluate")
Table = list[dict[str, Any]]


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.evaluate", description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--images", type=Path, default=Path("data/images.h5"))
    parser.add_argument("--split", type=Path, default=Path("data/split.json"))
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--role", choices=get_args(Role), help="default: evaluate.role; validation is for choices")
    parser.add_argument("--out", type=Path, required=True, help="metrics/NAME.json")
    parser.add_argument("--plots", type=Path, required=True, help="folder for the tables and details/")
    return parser


def write(
    run: Run,
    args: argparse.Namespace,
    metrics: dict[str, Any],
    tables: dict[str, Table],
    strip: Image,
    origin: dict[str, str],
) -> None:
    """Publish everything at once; ``origin`` says which images and split the scores are of."""
    details = args.plots / "details"
    with ExitStack() as stack:
        stack.enter_context(run.publishing(args.out)).write_text(metrics_json(metrics))
        for name, table in tables.items():
            stack.enter_context(run.publishing(args.plots / f"{name}.csv")).write_text(rows_csv(table))
        save_strip(stack.enter_context(run.publishing(details / "examples.png")), strip, origin)
        if "details/routes" in tables:
            picture = stack.enter_context(run.publishing(details / "routes.svg"))
            picture.write_text(drawing(tables["details/routes"]))


def names_of(split: Split, role: Role) -> list[str]:
    """The images of a role.

    Raises:
        DataError: there is none.
    """
    names = split.test if role == "test" else split.validation
    if not names:
        raise DataError(f"split: no {role} image to score; expected some. Set split.{role} above 0, or another role.")
    return names


def main() -> None:
    args = arguments().parse_args()
    params = Params(args.params)
    _, device = start(params)
    inputs = [args.images, args.split, args.model]
    with Images(args.images) as images, stage(args.out, params, KEYS, inputs) as run:
        split = Split.load(args.split)
        predictor = Predictor(args.model, device=device)
        predictor.require(images, args.model)
        config: EvaluateConfig = run.section("evaluate", EvaluateConfig)
        role = args.role or config.role
        names = names_of(split, role)
        net = predictor.model.net
        with gates.recorded(net) as opened, dropped.recorded(net) as decisions:
            scores = evaluate(predictor, images, names, config, run.name)
        ways = gates.gates_of_all(opened)
        about = {"role": role, "labelled_images": len(split.labelled), "seed": run.section("seed", Seed)}
        metrics = {**scores.metrics(), **cost(predictor, config.resolution, ways), **about}
        classes = images.class_names
        tables = {"per_class": scores.per_class(classes), "confusion": scores.pairs(classes)}
        tables["details/images"] = scores.per_image(names, classes)
        if decisions:
            tables["details/fusion"] = dropped.rows(net, decisions, images, names)
        if ways is not None:
            tables["details/routes"] = gates.rows(net, ways)
        strip = np.concatenate([scores.labels[name] for name in examples(names)])
        origin = {"images": images.identity, "split": split.digest}
        write(run, args, metrics, tables, palette_image(strip, images.colours), origin)
    say(f"{args.out}: mIoU {metrics['miou']:.4f} on {metrics['images']} images")


if __name__ == "__main__":
    run_command(main)
