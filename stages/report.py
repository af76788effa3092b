"""Show what was evaluated, on one page that opens without a network.

Reads data/images.h5, data/split.json and, for each method, metrics/<method>.json and metrics/plots/<method>/; where
given also a label store, what a threshold selects of it, training histories, the ways through a routing network, and
experiments with budgets. Costs: a second, no inference.
"""

import argparse
from contextlib import ExitStack
from pathlib import Path

from fewmask.core.params import Params
from fewmask.core.progress import say
from fewmask.core.stage import run_command, stage
from fewmask.reporting.page import report
from fewmask.reporting.results import (
    Study,
    chosen_files,
    method_files,
    read_chosen,
    read_history,
    read_method,
    read_routes,
    read_trials,
)
from fewmask.stores.images import Images
from fewmask.stores.labels import Labels
from fewmask.stores.split import Split

KEYS = ()
SEARCHED = "selene"  # whose network budgets make cheaper


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.report", description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--images", type=Path, default=Path("data/images.h5"))
    parser.add_argument("--split", type=Path, default=Path("data/split.json"))
    parser.add_argument("--methods", nargs="+", required=True, help="names of metrics/NAME.json, in the page's order")
    parser.add_argument("--metrics-folder", type=Path, default=Path("metrics"))
    parser.add_argument("--labels", type=Path, help="pseudo-labels to show")
    parser.add_argument("--rounds", type=Path, nargs="*", default=[], help="label stores of one method, first to last")
    parser.add_argument("--selection", type=Path, help="metrics/selection/NAME.json of those labels")
    parser.add_argument("--history", type=Path, nargs="*", default=[], help="metrics/history/FIT.csv")
    parser.add_argument("--routes", type=Path, help="metrics/plots/selene/routes.csv: the ways of a routing network")
    parser.add_argument("--experiments", type=Path, help="experiments with budgets, as `make sweep` writes them")
    parser.add_argument("--out", type=Path, required=True)
    return parser


def inputs(args: argparse.Namespace) -> list[Path]:
    files = [args.images, args.split, *args.history, *args.rounds]
    files += [file for name in args.methods for file in method_files(args.metrics_folder, name)]
    files += [path for path in (args.labels, args.routes, args.experiments) if path]
    return files + (chosen_files(args.selection, args.metrics_folder) if args.selection else [])


def study(args: argparse.Namespace, images: Images, labels: Labels | None, rounds: list[Labels]) -> Study:
    split = Split.load(args.split)
    for store in [*rounds, *([labels] if labels else [])]:
        store.require([*split.unlabelled, *split.validation], images, split.digest)
    methods = [read_method(args.metrics_folder, name, images, split) for name in args.methods]
    chosen = read_chosen(args.selection, args.metrics_folder, images.class_names) if args.selection else None
    histories = [read_history(path) for path in args.history]
    routes = read_routes(args.routes) if args.routes else []
    searched = next((method for method in methods if method.name == SEARCHED), None)
    trials = read_trials(args.experiments, searched, split) if args.experiments and searched else []
    return Study(images, split, methods, labels, chosen, histories, rounds, routes, trials)


def main() -> None:
    args = arguments().parse_args()
    with stage(args.out, Params(args.params), KEYS, inputs(args)) as run, ExitStack() as stack:
        images = stack.enter_context(Images(args.images))
        labels = stack.enter_context(Labels(args.labels)) if args.labels else None
        rounds = [stack.enter_context(Labels(path)) for path in args.rounds]
        page = report(study(args, images, labels, rounds))
        with run.publishing(args.out) as aside:
            aside.write_text(page, encoding="utf-8")
    say(f"{args.out}: {len(args.methods)} methods, {len(page.encode()) / 1e6:.1f} MB")


if __name__ == "__main__":
    run_command(main)
