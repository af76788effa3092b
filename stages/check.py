"""Read params.yaml and every image, mask and tag, list each problem with its remedy, and write nothing.

Reads params.yaml, dvc.yaml and the data set. Exit code 0, or 3 if there is a problem. Costs: one decode of every
file, about 5 ms an image.
"""

import argparse
from pathlib import Path

import numpy as np

from fewmask.checking.checks import data_problems, section_problems
from fewmask.core.errors import DataError, UserError
from fewmask.core.params import Params
from fewmask.core.progress import say
from fewmask.core.runtime import read_runtime
from fewmask.core.stage import run_command
from fewmask.datasets.base.dataset import DatasetConfig, Known, NoSource, Sample, Source, SourceConfig
from fewmask.datasets.base.opening import keys_under, learnable, open_source
from fewmask.datasets.base.scan import scan
from fewmask.datasets.base.tags import read_tags
from fewmask.splitting import Catalogue
from fewmask.stores.images import require_same_classes


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.check", description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--graph", type=Path, default=Path("dvc.yaml"))
    return parser


def main() -> None:
    args = arguments().parse_args()
    problems: list[str] = []
    try:
        params = Params(args.params)
        problems += section_problems(params, args.graph)
        config, workers = params.section("dataset", DatasetConfig), read_runtime(params).workers
        target = open_source(config)
        problems += source_problems(config.source, config, target, workers)
        samples = target.samples()
        problems += tag_problems(config, target, samples)
        problems += data_problems(params, look_at(target, samples, workers), args.graph)
    except UserError as error:
        problems += str(error).splitlines()
    problems = list(dict.fromkeys(problems))
    if problems:
        raise DataError("\n".join(problems))
    say(f"{args.params} and its data set are fine; next: dvc repro")


def source_problems(config: SourceConfig, target_config: Known, target: Source, workers: int) -> list[str]:
    """Decode the source domain, if there is one, and say what `prepare` would refuse of it."""
    if isinstance(config, NoSource):
        return []
    try:
        with keys_under("dataset.source"):
            source = open_source(config)
            require_same_classes(source.classes, target.classes)
            require_other(config, target_config)
            look_at(source, learnable(source), workers, "source ")
    except UserError as error:
        return str(error).splitlines()
    return []


def require_other(source: Known, target: Known) -> None:
    """Refuse a source domain that is the target; `prepare` compares the images themselves."""
    apart = {"source", "tags", "size", "fit", "train", "validation", "test"}
    if source.model_dump(exclude=apart) == target.model_dump(exclude=apart):
        raise DataError(
            "dataset: is the target itself; expected a source domain of other images, since all its masks are learned. "
            "Name another data set, or for streets another look or seed."
        )


def tag_problems(config: Known, source: Source, samples: list[Sample]) -> list[str]:
    """Say how many training images have tags, if params name any, and what `prepare` would refuse of them."""
    try:
        tags = read_tags(config, source.classes, samples)
    except UserError as error:
        return str(error).splitlines()
    if config.tags:
        train = [sample for sample in samples if sample.role == "train"]
        say(f"tags: {tags.count(train)} of {len(train)} training images")
    return []


def look_at(source: Source, samples: list[Sample], workers: int, title: str = "") -> Catalogue:
    """Decode everything and say what there is, or raise every problem of the files."""
    rows = [
        (s.id, s.role, None if mask is None else np.unique(mask))
        for s, _, mask in scan(source, samples, "check", workers)
    ]
    presence = {name: values for name, _, values in rows if values is not None}
    for role in dict.fromkeys(role for _, role, _ in rows):
        names = [name for name, other, _ in rows if other == role]
        say(f"{title}{role}: {len(names)} images, {sum(name in presence for name in names)} with masks")
    return Catalogue([row[0] for row in rows], [row[1] for row in rows], presence, list(source.classes))


if __name__ == "__main__":
    run_command(main)
