"""Read the data set that params name and write every image and mask once, at the working size.

Reads params `dataset`; writes data/images.h5. With --section dataset.source and --like it reads the source domain, a
second data set with the same classes, and writes its images that have masks; none at all where its kind is none.
Costs: one decode of every file (about 5 ms an image), or the drawing of the embedded streets (about 15 ms a scene).
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from fewmask.core.errors import DataError
from fewmask.core.params import Params
from fewmask.core.progress import say
from fewmask.core.stage import Run, run_command, stage
from fewmask.datasets.base.dataset import DatasetConfig, Known, NoSource, Sample, Source, SourceConfig, StreetsConfig
from fewmask.datasets.base.imagefiles import read_extent
from fewmask.datasets.base.old_scores import remove_old_scores
from fewmask.datasets.base.opening import keys_under, learnable, open_source
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
    inputs = [args.like] if args.like else []
    with stage(args.out, Params(args.params), keys(args), inputs) as run, keys_under(args.section):
        config = run.section(args.section, SourceConfig if args.like else DatasetConfig)
        if not args.like:
            source = open_source(config)
            publish(run, args.out, config, source, source.samples)
            return
        with Images(args.like) as target:
            if isinstance(config, NoSource):
                with run.publishing(args.out) as aside:
                    write_images(aside, [], 0, target.class_names, target.colours, target.size)
                say(f"{args.out}: no images, as the kind of {args.section} is none")
                return
            source = open_source(config)
            require_same_classes(source.classes, target.class_names)
            publish(run, args.out, config, source, lambda: learnable(source), target)


def publish(
    run: Run,
    out: Path,
    config: Known,
    source: Source,
    listing: Callable[[], list[Sample]],
    target: Images | None = None,
) -> None:
    """Read every image of the listing and write the store.

    Raises:
        DataError: files or tags are wrong, or an image is one of ``target``'s, too, so that its mask, which may be held
            out, would be learned.
    """
    samples = listing()
    before, tags = state(samples), read_tags(config, source.classes, samples)
    with run.publishing(out) as aside:
        found = scan(source, samples, "prepare", run.runtime.workers)
        rows = (
            (s.id, s.role, image, mask, extent_of(s, config), tags.of(s, mask))
            for s, image, mask in others(found, target)
        )
        write_images(aside, rows, len(samples), source.classes, source.colours)
        again = listing()
        if (state(again), read_tags(config, source.classes, again)) != (before, tags):
            raise DataError("dataset: files came, went or changed while they were read. Run it again.")
    say(f"{out}: {len(samples)} images, {len(source.classes)} classes")
    if removed := remove_old_scores(out):
        names = ", ".join(sorted({path.stem for path in removed if path.suffix == ".json"}))
        say(f"metrics: removed the scores of other images ({names}); git has those that were committed")


def others(found: Iterable[Read], target: Images | None) -> Iterator[Read]:
    """The same, unless one of them is an image of ``target``: its mask, which may be held out, would be learned."""
    for sample, image, mask in found:
        if target and target.holds(sample.id, image):
            raise DataError(
                f"dataset: image '{sample.id}' is the target's, too; expected a source domain of other images, since "
                "all its masks are learned. Name another data set, or for streets another look or seed."
            )
        yield sample, image, mask


def extent_of(sample: Sample, config: Known) -> tuple[int, int] | None:
    """How much of an image is not padding; None: all of it."""
    if sample.image is None or isinstance(config, StreetsConfig) or config.fit != "pad":
        return None
    return read_extent(sample.image, config)


if __name__ == "__main__":
    run_command(main)
