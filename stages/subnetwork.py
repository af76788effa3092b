"""Export a fixed network from a routing network: the paths that are open in the mean, with their weights.

Reads a model with gates, data/images.h5 and data/split.json; looks at the training images alone. Writes a model that
predicts and is evaluated like any other. Says what to put into params.yaml to train it on or afresh. Costs: one forward
pass an image.
"""

import argparse
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from ruamel.yaml import YAML

from fewmask.core.errors import ConfigError, DataError
from fewmask.core.files import published
from fewmask.core.params import Params
from fewmask.core.progress import Progress, say
from fewmask.core.stage import check_paths, run_command
from fewmask.costs.macs import gmacs
from fewmask.nets.base.device import start
from fewmask.nets.base.published import require_model_name, save_model
from fewmask.nets.base.segnet import SegNet
from fewmask.nets.routing.cells import CLOSED
from fewmask.prediction.predictor import BATCH, Predictor
from fewmask.prediction.subnetwork import fixed, require_gates
from fewmask.scoring.gates import recorded
from fewmask.stores.images import Images
from fewmask.stores.split import Split


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.subnetwork", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="such as models/selene.safetensors")
    parser.add_argument("--images", type=Path, default=Path("data/images.h5"))
    parser.add_argument("--split", type=Path, default=Path("data/split.json"))
    parser.add_argument("--below", type=float, default=0.01, help="a path whose mean gate is lower is left out; 0.01")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--params", type=Path, help="take device and threads from its section runtime")
    return parser


def main() -> None:
    args = arguments().parse_args()
    if not CLOSED < args.below <= 1:
        raise ConfigError(
            f"--below: found {args.below}; expected a gate that is not closed, above {CLOSED} and up to 1."
        )
    require_model_name(args.out)
    check_paths(args.out, [path for path in (args.model, args.images, args.split, args.params) if path])
    _, device = start(Params(args.params) if args.params else None)
    predictor = Predictor(args.model, device=device)
    header, net = predictor.header, predictor.model.net
    require_gates(header.network)
    assert isinstance(net, SegNet)
    section, made = fixed(net, header.network, mean_gates(predictor, args), args.below)
    provenance = {**header.provenance, "base": predictor.model.digest, "below": args.below}
    with published(args.out) as aside:
        save_model(aside, made, replace(header, network=section, provenance=provenance))
    size = (header.size[0], header.size[1])
    say(f"{args.out}: {gmacs(made, size):.4g} of {gmacs(net, size):.4g} GMACs")
    say("to train it on, or with `weights: null` afresh, make this the network in params.yaml:")
    say(as_yaml({"network": {**section, "weights": str(args.out)}}))


def as_yaml(tree: dict[str, Any]) -> str:
    stream = StringIO()
    YAML().dump(tree, stream)
    return stream.getvalue().rstrip()


def mean_gates(predictor: Predictor, args: argparse.Namespace) -> torch.Tensor:
    """Over the training images, (cells, 3), of a network that has gates."""
    split = Split.load(args.split)
    names = [*split.labelled, *split.unlabelled]
    if not names:
        raise DataError(f"{args.split}: names no training image; expected some, whose ways are averaged. Split again.")
    with Images(args.images) as images, recorded(predictor.model.net) as seen:
        predictor.require(images, args.model)
        with Progress("gates", len(names), "image") as progress:
            for first in range(0, len(names), BATCH):
                predictor.logits(images.stack(names[first : first + BATCH]))
                progress.show(min(first + BATCH, len(names)))
    return torch.cat(seen).mean(0)


if __name__ == "__main__":
    run_command(main)
