"""Label every training and validation image with a published model: class and confidence of each pixel.

Reads a model (and with --confidence an auxiliary network and params `auxiliary.confidence`), data/images.h5 and
data/split.json; writes a label store.
The validation images are labelled too, so that a filter can be measured on them without inference. Costs: one forward
pass an image. It writes shards of 64 images and goes on from the finished ones when it is run again.
"""

import argparse
from pathlib import Path

from fewmask.core.params import Params
from fewmask.core.stage import run_command, stage
from fewmask.nets.base.device import start
from fewmask.prediction.predictor import Confidence, Predictor
from fewmask.prediction.shards import label_in_shards
from fewmask.stores.images import Images
from fewmask.stores.labels import merge
from fewmask.stores.split import Split


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.label", description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--images", type=Path, default=Path("data/images.h5"))
    parser.add_argument("--split", type=Path, default=Path("data/split.json"))
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--confidence", type=Path, help="an auxiliary network; without it, the largest probability")
    parser.add_argument("--out", type=Path, required=True)
    return parser


def keys(args: argparse.Namespace) -> tuple[str, ...]:
    """What this node reads of params.yaml, as dvc.yaml declares it."""
    return ("auxiliary.confidence",) if args.confidence else ()


def main() -> None:
    args = arguments().parse_args()
    params = Params(args.params)
    _, device = start(params)
    inputs = [path for path in (args.images, args.split, args.model, args.confidence) if path]
    with Images(args.images) as images, stage(args.out, params, keys(args), inputs) as run:
        split = Split.load(args.split)
        judged = args.confidence and run.section("auxiliary.confidence", Confidence) == "auxiliary"
        predictor = Predictor(args.model, args.confidence if judged else None, device)
        predictor.require(images, args.model)
        names = [*split.labelled, *split.unlabelled, *split.validation]
        shards = label_in_shards(predictor, images, names, run.scratch, run.name)
        with run.publishing(args.out) as aside:
            provenance = {**predictor.provenance(), "images": images.identity, "split": split.digest}
            merge(aside, shards, images.class_names, run.fingerprint, provenance)


if __name__ == "__main__":
    run_command(main)
