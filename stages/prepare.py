"""Read the data set that params name and write every image and mask once, at the working size.

Reads params `dataset`; writes data/images.h5. Costs: one decode of every file (about 5 ms an image), or the drawing
of the embedded streets (about 15 ms a scene).
"""

import argparse
from pathlib import Path

from pipeline.core.errors import DataError
from pipeline.core.params import Params
from pipeline.core.progress import say
from pipeline.core.runtime import read_runtime
from pipeline.core.stage import run_command, stage
from pipeline.datasets.imagefiles import read_extent
from pipeline.datasets.opening import open_source
from pipeline.datasets.scan import scan, state
from pipeline.datasets.sources import DatasetConfig, Sample, StreetsConfig
from pipeline.stores.images import write_images

KEYS = ("dataset",)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.prepare", description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--out", type=Path, default=Path("data/images.h5"))
    return parser


def main() -> None:
    args = arguments().parse_args()
    with stage(args.out, Params(args.params), KEYS, []) as run:
        config = run.section("dataset", DatasetConfig)
        source = open_source(config)
        samples = source.samples()
        before = state(samples)
        with run.publishing(args.out) as aside:
            found = scan(source, samples, "prepare", read_runtime(run.params).workers)
            rows = ((s.id, s.role, image, mask, extent_of(s, config)) for s, image, mask in found)
            write_images(aside, rows, len(samples), source.classes, source.colours)
            if state(source.samples()) != before:
                raise DataError("dataset: files came, went or changed while they were read. Run it again.")
        say(f"{args.out}: {len(samples)} images, {len(source.classes)} classes")


def extent_of(sample: Sample, config: DatasetConfig) -> tuple[int, int] | None:
    """How much of an image is not padding; None: all of it."""
    if sample.image is None or isinstance(config, StreetsConfig) or config.fit != "pad":
        return None
    return read_extent(sample.image, config)


if __name__ == "__main__":
    run_command(main)
