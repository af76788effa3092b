"""Read params.yaml and every image, mask and tag, list each problem with its remedy, and write nothing.

Reads params.yaml, dvc.yaml and the data set. Exit code 0, or 3 if there is a problem. Costs: one decode of every
file, about 5 ms an image.
"""

import argparse
from pathlib import Path

import numpy as np

from fewmask.checking.checks import data_problems, section_problems, trainings
from fewmask.checking.graph import nodes
from fewmask.core.errors import DataError, UserError
from fewmask.core.params import Params
from fewmask.core.progress import say
from fewmask.core.runtime import read_runtime
from fewmask.core.stage import run_command
from fewmask.datasets.base.dataset import Dataset, DomainConfig, Sample
from fewmask.datasets.base.opening import NONE, OTHER, learnable, open_dataset, read_source, read_target
from fewmask.datasets.base.scan import scan
from fewmask.datasets.base.tags import read_tags
from fewmask.splitting import Catalogue
from fewmask.stores.images import require_same_classes

from . import fit


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.check", description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--graph", type=Path, default=Path("dvc.yaml"))
    return parser


def main() -> None:
    args = arguments().parse_args()
    problems: list[str] = []
    try:
        params, graph = Params(args.params), nodes(args.graph)
        trained = trainings(graph, fit.arguments())
        problems += section_problems(params, graph, trained)
        config, workers = read_target(params), read_runtime(params).workers
        target = open_dataset(config)
        problems += source_problems(params, config, target, workers)
        samples = target.samples()
        problems += tag_problems(config, target, samples)
        problems += data_problems(params, look_at(target, samples, workers), trained)
    except UserError as error:
        problems += str(error).splitlines()
    problems = list(dict.fromkeys(problems))
    if problems:
        raise DataError("\n".join(problems))
    say(f"{args.params} and its data set are fine; next: dvc repro")


def source_problems(params: Params, target_config: DomainConfig, target: Dataset, workers: int) -> list[str]:
    """Decode the source domain, if there is one, and say what `prepare` would refuse of it."""
    try:
        config = read_source(params)
        if config.kind != NONE:
            source = open_dataset(config, "dataset.source")
            require_same_classes(source.classes, target.classes)
            require_other(config, target_config)
            look_at(source, learnable(source), workers, "source ")
    except UserError as error:
        return str(error).splitlines()
    return []


def require_other(source: DomainConfig, target: DomainConfig) -> None:
    """Refuse a source domain that is the target; `prepare` compares the images themselves."""
    apart = {"source", "tags", "size", "fit", "train", "validation", "test"}
    if source.model_dump(exclude=apart) == target.model_dump(exclude=apart):
        raise DataError(f"dataset.source: is the target itself; {OTHER}")


def tag_problems(config: DomainConfig, dataset: Dataset, samples: list[Sample]) -> list[str]:
    """Say how many training images have tags, if params name any, and what `prepare` would refuse of them."""
    try:
        tags = read_tags(config, dataset.classes, samples)
    except UserError as error:
        return str(error).splitlines()
    if config.tags:
        train = [sample for sample in samples if sample.role == "train"]
        say(f"tags: {tags.count(train)} of {len(train)} training images")
    return []


def look_at(dataset: Dataset, samples: list[Sample], workers: int, title: str = "") -> Catalogue:
    """Decode everything and say what there is, or raise every problem of the files."""
    rows = [
        (s.id, s.role, None if mask is None else np.unique(mask))
        for s, _, mask in scan(dataset, samples, "check", workers)
    ]
    presence = {name: values for name, _, values in rows if values is not None}
    for role in dict.fromkeys(role for _, role, _ in rows):
        names = [name for name, other, _ in rows if other == role]
        say(f"{title}{role}: {len(names)} images, {sum(name in presence for name in names)} with masks")
    return Catalogue([row[0] for row in rows], [row[1] for row in rows], presence, list(dataset.classes))


if __name__ == "__main__":
    run_command(main)
