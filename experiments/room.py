"""What perfect knowledge of the classes of each image would be worth to a fused prediction: the room for a classifier.

    python -m experiments.room EXPERIMENT ... --out experiments/results/room_streets.json

Reads the network `s4gan`, the images and the split of DVC experiments, one a seed; writes a JSON file. The true classes
are read off the masks of the evaluated images, so this is a bound and no method.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.machine import describe
from experiments.scores import spreads
from fewmask.core.errors import ArtefactError
from fewmask.core.stage import run_command
from fewmask.fusion.fused import masked
from fewmask.prediction.predictor import BATCH, Predictor
from fewmask.scoring.confusion import confusion
from fewmask.scoring.overlap import iou, mean_over_present
from fewmask.stores.images import Images
from fewmask.stores.split import Split

ROOT = Path(__file__).resolve().parents[1]
FILES = ("models/s4gan.safetensors", "data/images.h5", "data/split.json")


def fetch(experiment: str, folder: Path) -> list[Path]:
    """Copies of FILES as an experiment made them."""
    copies = [folder / Path(name).name for name in FILES]
    for name, copy in zip(FILES, copies, strict=True):
        words = [sys.executable, "-m", "dvc", "get", ".", name, "--rev", experiment, "--out", str(copy)]
        if subprocess.run(words, cwd=ROOT, check=False).returncode:
            raise ArtefactError(f"experiment {experiment}: no {name}; expected one that made it. See 'dvc exp show'.")
    return copies


def room(model: Path, store: Path, split: Path) -> dict[str, float | None]:
    """mIoU with and without the true classes, classes that images lack, and the share of pixels given to such."""
    predictor, test = Predictor(model), Split.load(split).test
    with Images(store) as images:
        classes = torch.arange(len(images.class_names))
        plain, known = (torch.zeros(len(classes), len(classes), dtype=torch.int64) for _ in range(2))
        absent = wrong = valid = 0
        for first in range(0, len(test), BATCH):
            names = test[first : first + BATCH]
            logits, truth = predictor.logits(images.stack(names)), torch.from_numpy(images.stack(names, "mask"))
            present = (truth[:, None] == classes[:, None, None]).flatten(2).any(2)
            label = logits.argmax(1)
            plain += confusion(truth, label.to(torch.uint8), len(classes))
            known += confusion(truth, masked(logits, present).argmax(1).to(torch.uint8), len(classes))
            absent += int((~present).sum())
            counted = truth < len(classes)
            wrong += int((~present.gather(1, label.flatten(1)).view_as(label) & counted).sum())
            valid += int(counted.sum())
    scores = {name: mean_over_present(iou(m.numpy()), m.numpy()) for name, m in (("miou", plain), ("known", known))}
    return {**scores, "absent": absent, "pixels_of_absent": wrong / valid}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="+", metavar="EXPERIMENT", help="such as `experiments` of a result lists")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    by_seed = []
    for experiment in args.experiments:
        with tempfile.TemporaryDirectory() as folder:
            by_seed.append(room(*fetch(experiment, Path(folder))))
    result = {"experiments": args.experiments, "machine": describe(), **spreads(by_seed)}
    args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    run_command(main)
