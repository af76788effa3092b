"""Show what was evaluated, on one page that opens without a network.

Reads data/images.h5, data/split.json and whatever there is. That may be scores (metrics/NAME.json and
metrics/plots/NAME/), training histories, pseudo-labels with what a threshold selects of them, and experiments with
budgets. With --methods it shows exactly what the options name. Scores of other images are left out with a warning.
Costs: a second, no inference.
"""

import argparse
from contextlib import ExitStack
from pathlib import Path

from fewmask.core.params import Params
from fewmask.core.progress import say
from fewmask.core.stage import run_command, stage
from fewmask.reporting.inventory import open_stores, what_there_is
from fewmask.reporting.page import report
from fewmask.reporting.results import (
    Study,
    chosen_files,
    method_files,
    read_chosen,
    read_history,
    read_methods,
    read_routes,
    read_trials,
    routes_file,
)
from fewmask.stores.images import Images
from fewmask.stores.split import Split

KEYS = ()


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.report", description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--images", type=Path, default=Path("data/images.h5"))
    parser.add_argument("--split", type=Path, default=Path("data/split.json"))
    parser.add_argument("--metrics-folder", type=Path, default=Path("metrics"))
    parser.add_argument("--labels-folder", type=Path, default=Path("data/labels"))
    parser.add_argument("--methods", nargs="+", help="names of metrics/NAME.json, in the page's order")
    parser.add_argument("--labels", type=Path, help="pseudo-labels to show")
    parser.add_argument("--rounds", type=Path, nargs="*", default=[], help="label stores of one method, first to last")
    parser.add_argument("--selection", type=Path, help="metrics/selection/NAME.json of those labels")
    parser.add_argument("--history", type=Path, nargs="*", default=[], help="metrics/history/FIT.csv")
    parser.add_argument("--experiments", type=Path, help="experiments with budgets, as `make sweep` writes them")
    parser.add_argument("--out", type=Path, required=True)
    return parser


def inputs(args: argparse.Namespace) -> list[Path]:
    folder = args.metrics_folder
    files = [args.images, args.split, *args.history, *args.rounds]
    files += [file for name in args.methods for file in method_files(folder, name)]
    files += [routes_file(folder, args.routed)] if args.routed else []
    files += [path for path in (args.labels, args.experiments) if path]
    return files + (chosen_files(args.selection, folder) if args.selection else [])


def study(args: argparse.Namespace, images: Images, stack: ExitStack) -> Study:
    split, folder = Split.load(args.split), args.metrics_folder
    paths = [*args.rounds, *([args.labels] if args.labels else [])]
    stores = open_stores(paths, images, split, stack, named=args.named)
    rounds = [stores[path] for path in args.rounds if path in stores]
    methods = read_methods(folder, args.methods, images, split, named=args.named)
    chosen = read_chosen(args.selection, folder, images.class_names) if args.selection else None
    histories = [read_history(path) for path in args.history]
    searched = next((method for method in methods if method.name == args.routed), None)
    routes = read_routes(routes_file(folder, args.routed)) if searched else []
    trials = read_trials(args.experiments, searched, split) if args.experiments and searched else []
    return Study(images, split, methods, stores.get(args.labels), chosen, histories, rounds, routes, trials)


def main() -> None:
    args = what_there_is(arguments().parse_args())
    with stage(args.out, Params(args.params), KEYS, inputs(args)) as run, ExitStack() as stack:
        made = study(args, stack.enter_context(Images(args.images)), stack)
        page = report(made)
        with run.publishing(args.out) as aside:
            aside.write_text(page, encoding="utf-8")
    names = ", ".join(method.name for method in made.methods) or "no method"
    say(f"{args.out}: {names}, {len(page.encode()) / 1e6:.1f} MB")


if __name__ == "__main__":
    run_command(main)
