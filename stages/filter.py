"""Keep the pseudo-labels that pass `filter`'s threshold, and measure on held-out images what such pixels are worth.

Reads params `filter`, a label store, data/images.h5 (masks of the validation images only) and data/split.json. Writes
the filtered store of the unlabelled images, the selection measures, their curve over all thresholds, and per class.
Costs: a second for 300 images; no inference.
"""

import argparse
import math
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from fewmask.core.files import metrics_json, rows_csv
from fewmask.core.params import Params
from fewmask.core.progress import say, warn
from fewmask.core.stage import run_command, stage
from fewmask.selection.filter import FilterConfig, common_code, curve, filter_store, measure, minimum_codes, summary
from fewmask.selection.measures import select
from fewmask.stores.codes import thresholds
from fewmask.stores.images import Images
from fewmask.stores.labels import Labels
from fewmask.stores.split import Split

KEYS = ("filter",)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.filter", description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--images", type=Path, default=Path("data/images.h5"))
    parser.add_argument("--split", type=Path, default=Path("data/split.json"))
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--metrics", type=Path, required=True, help="metrics/selection/NAME.json")
    plots = Path("metrics/plots/selection")
    parser.add_argument("--plots", type=Path, default=plots, help="folder for NAME.csv and NAME_classes.csv")
    return parser


def outputs(args: argparse.Namespace) -> tuple[Path, Path, Path, Path]:
    """The store, its measures, their curve over all thresholds, and per class."""
    name = args.metrics.stem
    return args.out, args.metrics, args.plots / f"{name}.csv", args.plots / f"{name}_classes.csv"


def main() -> None:
    args = arguments().parse_args()
    params = Params(args.params)
    with stage(args.out, params, KEYS, [args.images, args.split, args.labels]) as run, ExitStack() as stack:
        config: FilterConfig = run.section("filter", FilterConfig)
        split = Split.load(args.split)
        images, labels = stack.enter_context(Images(args.images)), stack.enter_context(Labels(args.labels))
        labels.require([*split.unlabelled, *split.validation], images, split.digest)
        predicted = labels.histogram[[labels.index[name] for name in split.unlabelled]].sum(0, dtype=np.int64)
        minimum, effective = minimum_codes(config, images.class_names, labels.edges, predicted)
        histogram = measure(labels, images, split.validation)
        found = select(histogram, minimum)
        store, metrics, table, classes = (stack.enter_context(run.publishing(path)) for path in outputs(args))
        kept = filter_store(store, labels, split.unlabelled, minimum, run.fingerprint)
        common = float(thresholds(labels.edges)[common_code(config, labels.edges, predicted)])
        threshold = {"threshold": config.threshold, "effective_threshold": common}
        counts = {"kept_unlabelled": kept, "images": len(split.validation)}
        metrics.write_text(metrics_json({**threshold, **summary(found), **counts}))
        table.write_text(rows_csv(curve(histogram, labels.edges)))
        names = ("class", "iou", "semi_ratio", "threshold")
        rows = zip(images.class_names, found.iou, found.semi_ratio, effective, strict=True)
        classes.write_text(rows_csv(dict(zip(names, row, strict=True)) for row in rows))
    unknown = math.isnan(found.accuracy)
    measured = "none on held-out images" if unknown else f"{found.accuracy:.1%} right on held-out images"
    say(f"{args.out}: {kept:.1%} of the unlabelled pixels kept, {measured}")
    if kept == 0:
        warn("0 pixels kept; retraining will use the labelled images alone. Lower filter.threshold for more.")


if __name__ == "__main__":
    run_command(main)
