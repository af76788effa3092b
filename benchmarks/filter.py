"""A new threshold over 300 stored label maps, against float32 confidences; and the whole stage."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np

from benchmarks.inputs import CLASSES, LARGE, NAMES, ROOT, image_store, labelled_items, maps
from benchmarks.timing import Bench, Result, take_turns
from fewmask.learning.views import IGNORE
from fewmask.selection.filter import filter_store
from fewmask.stores.codes import minimum_code
from fewmask.stores.labels import Labels, write_labels
from fewmask.stores.split import Split

THRESHOLD = 0.9
PLAIN = {"chunks": (1, *LARGE), "compression": "gzip"}  # h5py's own level, 4


def float32_store(path: Path, count: int, distinct: int) -> None:
    """The plain way to keep confidences: (N, H, W) float32, one chunk an image, h5py's usual gzip."""
    with h5py.File(path, "w") as file:
        label = file.create_dataset("label", (count, *LARGE), np.uint8, **PLAIN)
        confidence = file.create_dataset("confidence", (count, *LARGE), np.float32, **PLAIN)
        for number in range(count):
            label[number], confidence[number] = maps(distinct)[number % distinct]


def filter_float32(source: Path, out: Path) -> None:
    """Read float32, np.where, write labels."""
    with h5py.File(source) as old, h5py.File(out, "w") as new:
        label = new.create_dataset("label", old["label"].shape, np.uint8, **PLAIN)
        for number in range(len(label)):
            label[number] = np.where(old["confidence"][number] >= THRESHOLD, old["label"][number], np.uint8(IGNORE))


def measure(bench: Bench) -> list[Result]:
    """A new threshold over a store of one-byte confidences, against float32 ones; and the whole stage."""
    count, distinct = 300, bench.some(48, 24)
    items = labelled_items(count + 40, distinct)
    unlabelled, validation = ([item.stem for item in part] for part in (items[:count], items[count:]))
    source, plain_source = bench.folder / "labels.h5", bench.folder / "float32.h5"
    write_labels(source, items, NAMES)
    float32_store(plain_source, count, distinct)
    minimum = np.full(CLASSES, minimum_code(THRESHOLD)[0])
    out, plain_out = bench.folder / "filtered.h5", bench.folder / "filtered32.h5"
    with Labels(source) as labels:
        turns = take_turns(
            bench.some(5, 2),
            ours=lambda: filter_store(out, labels, unlabelled, minimum, ""),
            float32=lambda: filter_float32(plain_source, plain_out),
        )
    with Labels(out) as ours, h5py.File(plain_out) as plain:
        same = all(np.array_equal(ours.label(n), plain["label"][i]) for i, n in enumerate(unlabelled[:20]))
    assert same, "the filtered labels differ"
    seconds, torch_loaded = filter_stage(bench, source, unlabelled, validation)
    return [
        turns.against("300 images 360x480, against float32 confidences", "float32", least=3),
        Result("filter_store", count / turns.seconds()["ours"], "images/s", least=500),
        Result("python -m stages.filter, 300 images and 40 for validation", seconds, "s", most=3),
        Result("torch loaded by stages.filter (1 = yes)", float(torch_loaded), "", most=0),
    ]


def filter_stage(bench: Bench, source: Path, unlabelled: list[str], validation: list[str]) -> tuple[float, bool]:
    """Median seconds of the stage as a process, and whether it loads torch."""
    masks = np.stack([label for label, _ in maps(bench.some(48, 24))])
    store = image_store(bench.folder / "images.h5", unlabelled + validation, np.zeros((1, *LARGE, 3), np.uint8), masks)
    (bench.folder / "split.json").write_text(Split(0, [], unlabelled, validation, [], "test").dump())
    (bench.folder / "params.yaml").write_text(f"filter:\n  threshold: {THRESHOLD}\n")
    arguments = f"--images {store} --split split.json --labels {source} --out stage.h5 --metrics stage.json"
    arguments += " --curve stage.csv --classes classes.csv"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_ROOT": str(bench.folder)}

    def run(*command: str) -> str:
        whole = [sys.executable, *command, *arguments.split()]
        done = subprocess.run(whole, cwd=bench.folder, env=environment, check=True, capture_output=True, text=True)
        return done.stdout

    seconds = take_turns(bench.some(5, 2), stage=lambda: run("-m", "stages.filter")).seconds()["stage"]
    loaded = run("-c", "import sys; from stages.filter import main; main(); print('torch' in sys.modules)")
    return seconds, loaded.split()[-1] == "True"
