"""Read the data set that params name and write every image and mask once, at the working size.

Reads params `dataset`; writes data/images.h5. With --section dataset.source and --like it reads the source domain, a
second data set with the same classes. Of that it writes the images that have masks, and none at all where its kind is
none. Costs: one decode of every file (about 5 ms an image), or the drawing of the embedded streets (about 15 ms a
scene).
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from fewmask.core.errors import DataError
from fewmask.core.params import Params
from fewmask.core.progress import say
from fewmask.core.stage import Run, run_command, stage
from fewmask.datasets.base.dataset import Dataset, FilesConfig, Sample
from fewmask.datasets.base.imagefiles import ImageFiles
from fewmask.datasets.base.opening import NONE, OTHER, learnable, open_dataset, read_source, read_target
from fewmask.datasets.base.scan import Read, scan, state
from fewmask.datasets.base.tags import read_tags
from fewmask.stores.images import Images, require_same_classes, write_images


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.prepare", description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--section", default="dataset", help="the key of params.yaml: dataset or dataset.source")
    parser.add_argument("--like", type=Path, help="of a source domain: the target's store, whose classes it must have")
    parser.add_argument("--out", type=Path, default=Path("data/images.h5"))
    return parser


def keys(args: argparse.Namespace) -> tuple[str, ...]:
    """What this node reads of params.yaml, as dvc.yaml declares it."""
    return (args.section,)


def main() -> None:
    args = arguments().parse_args()
    params = Params(args.params)
    # before the stage begins: its fingerprint covers the code that is loaded then, and this loads that of the kind
    config = (read_source if args.like else read_target)(params, args.section)
    with stage(args.out, params, keys(args), [args.like] if args.like else []) as run:
        if args.like:
            with Images(args.like) as target:
                prepare_source(run, args, config, target)
        else:
            dataset = open_dataset(config, args.section)
            publish(run, args.out, config, dataset, dataset.samples)


def prepare_source(run: Run, args: argparse.Namespace, config: Any, target: Images) -> None:
    """Write the images of the source domain; an empty store where params name none."""
    if config.kind == NONE:
        with run.publishing(args.out) as aside:
            write_images(aside, [], 0, target.class_names, target.colours, target.size)
        say(f"{args.out}: no images, as the kind of {args.section} is none")
        return
    dataset = open_dataset(config, args.section)
    require_same_classes(dataset.classes, target.class_names)
    publish(run, args.out, config, dataset, lambda: learnable(dataset), target)


def publish(
    run: Run,
    out: Path,
    config: Any,
    dataset: Dataset,
    listing: Callable[[], list[Sample]],
    target: Images | None = None,
) -> None:
    """Read every image of the listing and write the store.

    Raises:
        DataError: files or tags are wrong, or an image is also ``target``'s, so that its mask, which may be held out,
            would be learned.
    """
    samples = listing()
    before, tags = state(samples), read_tags(config, dataset.classes, samples)
    with run.publishing(out) as aside:
        found = scan(dataset, samples, "prepare", run.runtime.workers)
        rows = (
            (s.id, s.role, image, mask, extent_of(s, config, dataset.key), tags.of(s, mask))
            for s, image, mask in others(found, target, dataset.key)
        )
        write_images(aside, rows, len(samples), dataset.classes, dataset.colours)
        again = listing()
        if (state(again), read_tags(config, dataset.classes, again)) != (before, tags):
            raise DataError(f"{dataset.key}: files came, went or changed while they were read. Run it again.")
    say(f"{out}: {len(samples)} images, {len(dataset.classes)} classes")


def others(found: Iterable[Read], target: Images | None, key: str) -> Iterator[Read]:
    """The same, unless one of them is an image of ``target``: its mask, which may be held out, would be learned."""
    for sample, image, mask in found:
        if target and target.holds(sample.id, image):
            raise DataError(f"{key}: image '{sample.id}' is the target's, too; {OTHER}")
        yield sample, image, mask


def extent_of(sample: Sample, config: Any, key: str) -> tuple[int, int] | None:
    """How much of an image is not padding; None: all of it."""
    if sample.image is None or not isinstance(config, FilesConfig) or config.fit != "pad":
        return None
    return ImageFiles(config, key).read_extent(sample.image)


if __name__ == "__main__":
    run_command(main)
