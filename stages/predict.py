"""Predict a folder of images with a published model: one palette PNG mask an image, at the image's size.

Reads a model and a folder. Writes NAME.png (pixel value = class id), with --overlay NAME_overlay.jpg, with --confidence
NAME_confidence.png (0..255 = largest probability 0..1). Costs: one forward pass an image.
"""

import argparse
from pathlib import Path

from fewmask.core.errors import ConfigError
from fewmask.core.params import Params
from fewmask.core.progress import say
from fewmask.core.stage import run_command
from fewmask.nets.base.device import start
from fewmask.prediction.image_folder import predict_folder
from fewmask.prediction.predictor import Predictor


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.predict", description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--overlay", action="store_true")
    parser.add_argument("--confidence", action="store_true")
    parser.add_argument("--params", type=Path, help="take device and threads from its section runtime")
    return parser


def main() -> None:
    args = arguments().parse_args()
    if args.out.resolve() == args.images.resolve():
        raise ConfigError(f"{args.out}: is both --images and --out; choose another folder for the masks.")
    if args.out.exists() and not args.out.is_dir():
        raise ConfigError(f"{args.out}: is a file; expected a folder for the masks.")
    _, device = start(Params(args.params) if args.params else None)
    predictor = Predictor(args.model, device=device)
    count = predict_folder(predictor, args.images, args.out, args.overlay, args.confidence)
    names = ", ".join(f"{number} {name}" for number, name in enumerate(predictor.header.class_names))
    say(f"{args.out}: {count} masks; {names}")


if __name__ == "__main__":
    run_command(main)
