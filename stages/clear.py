"""Remove scores of other images, so that `dvc metrics show` compares like with like.

Reads data/images.h5 and dvc.lock. Deletes the metrics and plots of stages that last ran on other images, and writes
which images the scores are of from now on. DVC does not restore this stage from its cache: it runs whenever the images
change. Costs: a digest of the images.
"""

import argparse
from pathlib import Path

from fewmask.core.files import metrics_json
from fewmask.core.params import Params
from fewmask.core.progress import say
from fewmask.core.stage import run_command, stage
from fewmask.old_scores import remove_old_scores
from fewmask.stores.images import Images

KEYS = ()


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.clear", description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--images", type=Path, default=Path("data/images.h5"))
    parser.add_argument("--out", type=Path, default=Path("data/scored.json"))
    return parser


def main() -> None:
    args = arguments().parse_args()
    with stage(args.out, Params(args.params), KEYS, [args.images]) as run:
        with Images(args.images) as images:
            identity = images.identity
        removed = remove_old_scores(args.images)
        with run.publishing(args.out) as aside:
            aside.write_text(metrics_json({"images": identity}))
    if removed:
        names = ", ".join(sorted({path.stem for path in removed if path.suffix == ".json"}))
        say(f"metrics: removed the scores of other images ({names}); git has those that were committed")


if __name__ == "__main__":
    run_command(main)
