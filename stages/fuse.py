"""Fuse a segmentation network and a tagger: a model that predicts without the classes that an image does not show.

Reads both models, data/images.h5, data/split.json and params `fusion`. Writes a model that holds both networks and the
thresholds. It is scored and predicts like any other. A rule of pixels drops the tagger, and chooses its thresholds on
the validation images. Costs: seconds; with a rule of pixels one forward pass a validation image.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from fewmask.core.errors import ArtefactError
from fewmask.core.params import Params
from fewmask.core.progress import say
from fewmask.core.stage import Run, run_command, stage
from fewmask.fusion.fused import Config, Fused, fuse
from fewmask.fusion.thresholds import FusionConfig, choose_thresholds
from fewmask.methods.mlmt.tagger import Tagger
from fewmask.nets.base.device import start
from fewmask.nets.base.published import Header, Model, check_kind, load_model, require_model_name, save_model
from fewmask.prediction.predictor import Predictor
from fewmask.stores.images import Images
from fewmask.stores.split import Split

KEYS = ("fusion",)
ALIKE = {"class_names": "classes", "size": "size", "mean": "mean of the input", "std": "deviation of the input"}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.fuse", description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--images", type=Path, default=Path("data/images.h5"))
    parser.add_argument("--split", type=Path, default=Path("data/split.json"))
    parser.add_argument("--model", type=Path, required=True, help="a segmentation network")
    parser.add_argument("--tagger", type=Path, required=True, help="a classifier of whole images")
    parser.add_argument("--out", type=Path, required=True)
    return parser


def open_tagger(args: argparse.Namespace, model: Model, device: torch.device) -> Model:
    """The tagger of a pair that was trained alike.

    Raises:
        ArtefactError: one of the files holds another kind of network, or they differ in classes, size or input.
    """
    tagger = load_model(args.tagger, device)
    check_kind(args.tagger, tagger, Tagger, "a tagger, such as models/mlmt.safetensors")
    if isinstance(model.net, Fused):
        found = "holds the network 'fused'; expected a segmentation network alone, such as models/s4gan.safetensors"
        raise ArtefactError(f"{args.model}: {found}. Name that file instead.")
    for key, name in ALIKE.items():
        found, expected = getattr(tagger.header, key), getattr(model.header, key)
        if found != expected:
            told = f"was trained with the {name} {found}; {args.model} with {expected}"
            raise ArtefactError(f"{args.tagger}: {told}. Run 'dvc repro' to train both alike.")
    return tagger


def header_of(section: Config, model: Model, tagger: Model, run: Run) -> Header:
    """The segmentation model's, with what the fusion adds."""
    ours, theirs = model.header, tagger.header
    origin = {"fingerprint": run.fingerprint, "base": model.digest, "tagger": tagger.digest}
    return replace(
        ours,
        network=section.model_dump(mode="json"),
        params={**theirs.params, **ours.params, "fusion": run.params.raw("fusion")},
        provenance={**ours.provenance, **origin},
    )


def main() -> None:
    args = arguments().parse_args()
    require_model_name(args.out)
    params = Params(args.params)
    _, device = start(params)
    inputs = [args.images, args.split, args.model, args.tagger]
    with Images(args.images) as images, stage(args.out, params, KEYS, inputs) as run:
        config: FusionConfig = run.section("fusion", FusionConfig)
        predictor = Predictor(args.model, device=device)
        model = predictor.model
        tagger = open_tagger(args, model, device)
        predictor.require(images, args.model)
        chosen = choose_thresholds(predictor, images, Split.load(args.split).validation, config)
        section, net = fuse(model, tagger if config.rule == "scores" else None, chosen)
        with run.publishing(args.out) as aside:
            save_model(aside, net, header_of(section, model, tagger, run))
    told = [f"{name} {each}" for name, each in zip(model.header.class_names, chosen, strict=True) if each is not None]
    say(f"{args.out}: by {config.rule}; thresholds: {', '.join(told)}")


if __name__ == "__main__":
    run_command(main)
