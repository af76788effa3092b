"""Train one learner and publish one model.

Reads the params sections named by --section; a later one overrides an earlier one, key by key. Reads data/images.h5,
data/split.json and what --base, --start, --join, --labels and --source name. Writes a model and its history. Costs:
minutes to days. It shows progress, writes a checkpoint every minute and goes on from it when it is run again.
"""

import argparse
from contextlib import nullcontext
from pathlib import Path

import torch

from fewmask.core.files import rows_csv
from fewmask.core.params import Params, Seed
from fewmask.core.stage import run_command, stage
from fewmask.learning.batches import Batches
from fewmask.learning.config import FitConfig, JoinedConfig, JoinedLabelsConfig, StoredLabelsConfig, TwoDomainsConfig
from fewmask.learning.data import (
    TrainingData,
    joined_batches,
    labelled_batches,
    pseudo_labelled_batches,
    tagged_batches,
)
from fewmask.learning.fit import fit
from fewmask.learning.recipe import Recipe, learner_class, require_tags, require_use
from fewmask.learning.seeding import torch_seed
from fewmask.nets.base.device import start
from fewmask.nets.base.published import save_model
from fewmask.stores.images import Images
from fewmask.stores.split import Split

TAGS = "image-level labels: batches say which classes occur, and images with tags alone count as labelled"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.fit", description=__doc__)
    parser.add_argument("--learner", required=True, help="method.Class, such as supervised.Supervised")
    parser.add_argument("--section", nargs="+", required=True, help="keys of params.yaml, such as supervised")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--images", type=Path, default=Path("data/images.h5"))
    parser.add_argument("--split", type=Path, default=Path("data/split.json"))
    parser.add_argument("--network", default="network", help="the key of params.yaml that holds the network's section")
    parser.add_argument("--base", type=Path, help="a published model the learner builds on")
    parser.add_argument("--start", type=Path, help="a published model that networks may begin with: begin_with")
    stores = parser.add_mutually_exclusive_group()
    stores.add_argument("--join", type=Path, help="a label store whose images count as labelled")
    stores.add_argument("--labels", type=Path, help="a label store that gives training images a pseudo-label each")
    stores.add_argument("--tags", action="store_true", help=TAGS)
    parser.add_argument("--source", type=Path, help="the source domain's images, for the share of steps that is its")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--history", type=Path, help="default: metrics/history/NAME.csv, with the name of --out")
    return parser


def history(args: argparse.Namespace) -> Path:
    """Where the history goes."""
    return args.history or Path("metrics/history", f"{args.out.stem}.csv")


def keys(args: argparse.Namespace) -> tuple[str, ...]:
    """What this node reads of params.yaml, as dvc.yaml declares it."""
    return ("seed", *args.section) if args.base else ("seed", args.network, *args.section)


def open_batches(args: argparse.Namespace, data: TrainingData, config: FitConfig) -> Batches:
    """Batches with the pseudo-labels or tags that the arguments ask for."""
    if args.source:
        require_use(config, TwoDomainsConfig, "--source")
    if args.join:
        return joined_batches(data, require_use(config, JoinedLabelsConfig, "--join"), args.join)
    if args.labels:
        return pseudo_labelled_batches(data, require_use(config, StoredLabelsConfig, "--labels"), args.labels)
    if args.tags:
        return tagged_batches(data, require_use(config, JoinedConfig, "--tags"))
    return labelled_batches(data, config)


def main() -> None:
    parser = arguments()
    args = parser.parse_args()
    if args.tags and args.source:
        parser.error("argument --tags: not allowed with argument --source")
    params = Params(args.params)
    runtime, device = start(params)
    kind = learner_class(args.learner)
    require_tags(kind, args.tags)
    named = (args.images, args.split, args.base, args.start, args.join, args.labels, args.source)
    inputs = [path for path in named if path]
    conditions = f"{device} {torch.get_num_threads()} {torch.__version__}{' tags' if args.tags else ''}"
    other = Images(args.source) if args.source else nullcontext()
    with Images(args.images) as images, other as source, stage(args.out, params, keys(args), inputs, conditions) as run:
        seed: int = run.section("seed", Seed)
        recipe = Recipe.read(run, kind.schema, args.section, args.base, images, args.start, device, args.network)
        torch.manual_seed(torch_seed(seed, "init"))
        learner = kind(recipe.config, recipe.task).to(device).to(memory_format=torch.channels_last)
        data = TrainingData(images, Split.load(args.split), recipe.task.normalise, seed, source, device)
        batches = open_batches(args, data, recipe.config)
        seconds = runtime.checkpoint_seconds
        rows = fit(
            learner, batches, recipe.config, seed=seed, folder=run.scratch, name=run.name, checkpoint_seconds=seconds
        )
        network, net = learner.result()
        with run.publishing(history(args)) as table, run.publishing(args.out) as aside:
            table.write_text(rows_csv(rows))
            save_model(aside, net, recipe.header(network, images, run, device))


if __name__ == "__main__":
    run_command(main)
