"""What perfect knowledge of the classes of each image would be worth to a fused prediction: the room for a classifier.

    python -m benchmarks.room --folder runs/s4gan/full --seeds 0 1 2 --out benchmarks/results/room_streets.json

Reads the run folders of benchmarks/variants.py. The true classes are read off the masks of the evaluated images, so
this is a bound and no method.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import describe
from benchmarks.seeds import spread
from fewmask.fusion.fused import masked
from fewmask.prediction.predictor import BATCH, Predictor
from fewmask.scoring.confusion import confusion
from fewmask.scoring.overlap import iou, mean_over_present
from fewmask.stores.images import Images
from fewmask.stores.split import Split


def room(here: Path) -> dict[str, float]:
    """mIoU with and without the true classes, classes that images lack, and the share of pixels given to such."""
    predictor, split = Predictor(here / "models/s4gan.safetensors"), Split.load(here / "data/split.json")
    with Images(here / "data/images.h5") as images:
        classes = torch.arange(len(images.class_names))
        plain, known = (torch.zeros(len(classes), len(classes), dtype=torch.int64) for _ in range(2))
        absent = wrong = valid = 0
        for first in range(0, len(split.test), BATCH):
            names = split.test[first : first + BATCH]
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="holds a run folder for each seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = [room(args.folder / str(seed)) for seed in args.seeds]
    result: dict[str, Any] = {"seeds": args.seeds, "machine": describe()}
    result |= {name: spread([row[name] for row in rows]) for name in rows[0]}
    text = json.dumps(result, indent=1) + "\n"
    if args.out:
        args.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
