"""Predict a folder of images with a published model: one palette PNG mask an image, at the image's size.

Reads a model (with --tagger also a classifier of whole images, which drops classes) and a folder; writes NAME.png
(pixel value = class id), with --overlay NAME_overlay.jpg, with --confidence NAME_confidence.png (0..255 = largest
probability 0..1). Costs: one forward pass an image.
"""

import argparse
from pathlib import Path

import torch

from fewmask.core.errors import ConfigError
from fewmask.core.params import Params
from fewmask.core.progress import say
from fewmask.core.stage import run_command
from fewmask.nets.base.device import start
from fewmask.prediction.fusion import TAU, FusedPredictor
from fewmask.prediction.image_folder import predict_folder
from fewmask.prediction.predictor import Predictor


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.predict", description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--tagger", type=Path, help="drop the classes that this network does not see in an image")
    parser.add_argument("--tau", type=float, help="its scores up to this, 0..1, drop a class; without it, 0.2")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--overlay", action="store_true")
    parser.add_argument("--confidence", action="store_true")
    parser.add_argument("--params", type=Path, help="take device and threads from its section runtime")
    return parser


def open_predictor(args: argparse.Namespace, device: torch.device) -> Predictor:
    """Raises ConfigError where --tau is out of place."""
    if args.tau is not None and not 0 <= args.tau <= 1:
        raise ConfigError(f"--tau: found {args.tau}; expected a threshold on scores, a number in 0..1.")
    if args.tagger:
        return FusedPredictor(args.model, args.tagger, TAU if args.tau is None else args.tau, device)
    if args.tau is not None:
        raise ConfigError("--tau: is a threshold on the scores of a tagger; name its file with --tagger.")
    return Predictor(args.model, device=device)


def main() -> None:
    args = arguments().parse_args()
    if args.out.resolve() == args.images.resolve():
        raise ConfigError(f"{args.out}: is both --images and --out; choose another folder for the masks.")
    if args.out.exists() and not args.out.is_dir():
        raise ConfigError(f"{args.out}: is a file; expected a folder for the masks.")
    _, device = start(Params(args.params) if args.params else None)
    predictor = open_predictor(args, device)
    count = predict_folder(predictor, args.images, args.out, args.overlay, args.confidence)
    names = ", ".join(f"{number} {name}" for number, name in enumerate(predictor.header.class_names))
    say(f"{args.out}: {count} masks; {names}")


if __name__ == "__main__":
    run_command(main)
