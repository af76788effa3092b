"""Remove scores of other images or of another split, so that `dvc metrics show` compares like with like.

Reads data/images.h5, data/split.json and dvc.lock. Deletes the metrics and plots of stages that last read other ones,
and writes which the scores are of from now on. DVC does not restore this stage from its cache, so it runs before a
score whenever the images or the split changed. Costs: a digest of the images.
"""

import argparse
from pathlib import Path

from fewmask.core.files import metrics_json
from fewmask.core.params import Params
from fewmask.core.progress import say
from fewmask.core.stage import run_command, stage
from fewmask.old_scores import remove_old_scores
from fewmask.stores.images import Images
from fewmask.stores.split import Split

KEYS = ()


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.clear", description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--images", type=Path, default=Path("data/images.h5"))
    parser.add_argument("--split", type=Path, default=Path("data/split.json"))
    parser.add_argument("--out", type=Path, default=Path("data/scored.json"))
    return parser


def main() -> None:
    args = arguments().parse_args()
    inputs = [args.images, args.split]
    with stage(args.out, Params(args.params), KEYS, inputs) as run:
        with Images(args.images) as images:
            identity = {"images": images.identity, "split": Split.load(args.split).digest}
        removed = remove_old_scores(inputs)
        with run.publishing(args.out) as aside:
            aside.write_text(metrics_json(identity))
    if removed:
        scores = [path for path in removed if path.suffix == ".json"]  # of each model one; its tables need no mention
        names = ", ".join(sorted({path.stem for path in scores or removed}))
        back = "git has those that were committed, and 'dvc repro' with the earlier params makes them again"
        say(f"metrics: removed the scores of other images or another split ({names}); {back}")


if __name__ == "__main__":
    run_command(main)
