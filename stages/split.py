"""Choose the labelled images: seeded, nested over shares, every class covered.

Reads params `seed`, `split` and data/images.h5; writes data/split.json. Costs: a second.
"""

import argparse
from pathlib import Path

from fewmask.core.params import Params, Seed
from fewmask.core.progress import say, warn
from fewmask.core.stage import run_command, stage
from fewmask.splitting import SplitConfig, make_split
from fewmask.stores.images import Images

KEYS = ("seed", "split")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.split", description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--images", type=Path, default=Path("data/images.h5"))
    parser.add_argument("--out", type=Path, default=Path("data/split.json"))
    return parser


def main() -> None:
    args = arguments().parse_args()
    with stage(args.out, Params(args.params), KEYS, [args.images]) as run:
        with Images(args.images) as images:
            split = make_split(images, run.section("split", SplitConfig), run.section("seed", Seed))
        for warning in split.warnings:
            warn(warning)
        with run.publishing(args.out) as aside:
            aside.write_text(split.dump())
    say(f"{args.out}: {split.summary()}")


if __name__ == "__main__":
    run_command(main)
