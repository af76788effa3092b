"""How fast the parts of this project are, each against the plain way, with its target.

    python -m benchmarks.speed [NAME ...] [--out FILE] [--quick] [--threads N]

Data are made here: drawn street scenes, and blob-like label maps whose compressed sizes are those of a trained
network's (360x480: 4 KB as PNG, 7 KB as gzip-1; float32 confidences 0.5 MB).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import h5py
import numpy as np
import torch
from PIL import Image
from ruamel.yaml import YAML
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.machine import describe
from benchmarks.timing import Result, interleaved
from fewmask.checking.presets import read_preset
from fewmask.core.errors import ConfigError
from fewmask.datasets.streets.scenes import draw
from fewmask.learning.batches import Batches, Pool
from fewmask.learning.fit import fit
from fewmask.learning.learner import Batch, LabelledData, Task
from fewmask.learning.optim import OptimiserConfig
from fewmask.learning.recipe import build_from
from fewmask.learning.views import IGNORE, WeakViews
from fewmask.methods.supervised.supervised import Config as SupervisedConfig
from fewmask.methods.supervised.supervised import Supervised
from fewmask.nets.base.device import keep_memory
from fewmask.nets.base.normalise import Normalise
from fewmask.nets.base.published import Header, save_model
from fewmask.nets.dsnet.dsnet import IMAGENET
from fewmask.prediction.predictor import BATCH, Predictor
from fewmask.prediction.shards import SHARD, label_in_shards
from fewmask.scoring.confusion import confusion
from fewmask.selection.filter import filter_store
from fewmask.stores.codes import encode, minimum_code
from fewmask.stores.hdf5 import add_image, create
from fewmask.stores.images import Images, write_images
from fewmask.stores.labels import Labelled, Labels, write_labels
from fewmask.stores.split import Split

ROOT = Path(__file__).resolve().parents[1]
CLASSES, NAMES = 11, [f"class{number:02d}" for number in range(11)]
LARGE, SMALL = (360, 480), (180, 240)
HALF = {"name": "dsnet", "width": 0.5}
WHOLE = {"name": "dsnet", "width": 1.0}
THRESHOLD = 0.9
PLAIN = {"chunks": (1, *LARGE), "compression": "gzip"}  # h5py's own level, 4


@dataclass(frozen=True)
class Bench:
    """What every measurement is told."""

    folder: Path
    threads: int
    quick: bool

    def some(self, full: int, quick: int = 3) -> int:
        """A number of rounds or images."""
        return quick if self.quick else full


# ---- data


@cache
def maps(count: int, size: tuple[int, int] = LARGE) -> list[tuple[np.ndarray, np.ndarray]]:
    """Labels (H, W) uint8 and confidences (H, W) float32: the softmax of smooth random scores of stride 4."""
    random = torch.Generator().manual_seed(0)
    grid = (size[0] // 4, size[1] // 4)

    def field(height: int, width: int) -> Tensor:
        return F.interpolate(torch.randn(1, CLASSES, height, width, generator=random), grid, mode="bicubic")

    made = []
    for _ in range(count):
        scores = 12 * field(3, 4) + 0.5 * field(23, 30) + 0.3 * field(*grid)
        largest, label = F.interpolate(scores, size, mode="bilinear").softmax(1)[0].max(0)
        made.append((label.to(torch.uint8).numpy(), largest.numpy()))
    return made


@cache
def scenes(count: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Drawn images (N, H, W, 3) and masks (N, H, W), uint8."""
    images, masks = zip(*(draw(0, index, size) for index in range(count)), strict=True)
    return np.stack(images), np.stack(masks)


def image_store(path: Path, names: list[str], images: np.ndarray, masks: np.ndarray) -> Path:
    """An image store of ``names``; the arrays are repeated as often as needed."""
    rows = ((name, "train", images[i % len(images)], masks[i % len(masks)]) for i, name in enumerate(names))
    write_images(path, rows, len(names), NAMES, [(0, 0, 0)] * CLASSES)
    return path


def labelled_items(count: int, distinct: int) -> list[Labelled]:
    """What a label stage would store."""
    coded = [(label, encode(confidence)) for label, confidence in maps(distinct)]
    return [Labelled(f"i{number:04d}", *coded[number % distinct]) for number in range(count)]


def camvid_small() -> dict[str, Any]:
    """The network section of the preset camvid_small."""
    return dict(YAML(typ="safe").load(read_preset("camvid_small"))["network"])


def network(section: dict[str, Any]) -> nn.Module:
    return build_from(section, CLASSES).to(memory_format=torch.channels_last)


def small_network() -> tuple[str, nn.Module]:
    """camvid_small's network, or a small one where timm and the weights are not installed."""
    try:
        return "deeplabv3plus lite0", network(camvid_small())
    except ConfigError:
        return "dsnet 0.5", network(HALF)


def random_batch(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """x (8, 3, H, W) and y (8, H, W)."""
    images, masks = scenes(8, size)
    return Normalise(*IMAGENET)(torch.from_numpy(images)), torch.from_numpy(masks).long()


class BareStep:
    """Forward, cross-entropy, backward and a fused optimiser step, and nothing else."""

    def __init__(self, net: nn.Module, x: Tensor, y: Tensor, weight: Tensor | None = None):
        self.net, self.x, self.y, self.weight = net.train(), x, y, weight
        self.optimiser = torch.optim.AdamW(net.parameters(), 1e-4, fused=True)

    def __call__(self) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(self.net(self.x), self.y, self.weight, ignore_index=IGNORE).backward()
        self.optimiser.step()


def ratio(what: str, times: dict[str, float], plain: str, ours: str = "ours", least: float | None = None) -> Result:
    return Result(what, times[plain] / times[ours], least=least, absolute={ours: times[ours], plain: times[plain]})


# ---- allocator


def child_steps(keep: bool, threads: int, size: tuple[int, int], steps: int) -> None:
    """In a process of its own: print seconds of a training step and the network's name."""
    if keep:
        keep_memory()
    torch.set_num_threads(threads)
    name, net = small_network()
    step = BareStep(net, *random_batch(size))
    print(json.dumps([interleaved(steps, step=step)["step"], name]))


def allocator(bench: Bench) -> list[Result]:
    """A training step with and without keep_memory, in processes that take turns."""
    results = []
    for size, steps in ((SMALL, bench.some(10)), (LARGE, bench.some(4, 2))):
        times: dict[bool, list[float]] = {True: [], False: []}
        name = ""
        for _ in range(bench.some(5, 2)):
            for keep, taken in times.items():
                code = (
                    f"from benchmarks.speed import child_steps; child_steps({keep}, {bench.threads}, {size}, {steps})"
                )
                run = [sys.executable, "-c", code]
                found = subprocess.run(run, cwd=ROOT, capture_output=True, check=True, text=True)
                seconds, name = json.loads(found.stdout)
                taken.append(seconds)
        medians = {"ours": median(times[True]), "default": median(times[False])}
        what = f"step, {name} {size[0]}x{size[1]} batch 8, against glibc's default"
        results.append(ratio(what, medians, "default", least=1.4))
    return results


# ---- confusion


def noisy_masks(count: int) -> tuple[Tensor, Tensor]:
    """Truth and predictions (N, 360, 480) uint8: coherent blobs, 10 % of the predicted pixels at random, some void."""
    rng = np.random.default_rng(0)
    truth = np.stack([label for label, _ in maps(count)])
    noise = rng.random(truth.shape) < 0.1
    predicted = np.where(noise, rng.integers(0, CLASSES, truth.shape, np.uint8), truth)
    void = maps(count)[0][1] < 0.5
    return torch.from_numpy(np.where(void, np.uint8(IGNORE), truth)), torch.from_numpy(predicted)


def bincount_int64(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The form that released code uses, on int64."""
    valid = (truth >= 0) & (truth < CLASSES)
    joint = CLASSES * truth[valid] + predicted[valid]
    return np.bincount(joint, minlength=CLASSES**2).reshape(CLASSES, CLASSES)


def confusion_matrix(bench: Bench) -> list[Result]:
    """Mask by mask, as an evaluation meets them."""
    from torchmetrics.classification import MulticlassConfusionMatrix

    truth, predicted = noisy_masks(20)
    pairs = list(zip(truth, predicted, strict=True))
    wide = [(y.long(), p.long()) for y, p in pairs]
    arrays = [(y.numpy(), p.numpy()) for y, p in wide]
    metric = MulticlassConfusionMatrix(CLASSES, ignore_index=IGNORE)

    def ours() -> Tensor:
        return sum((confusion(y, p, CLASSES) for y, p in pairs), torch.zeros(CLASSES, CLASSES, dtype=torch.int64))

    def torchmetrics() -> Tensor:
        metric.reset()
        for y, p in wide:
            metric.update(p, y)
        return metric.compute()

    def bincount() -> np.ndarray:
        return sum((bincount_int64(y, p) for y, p in arrays), np.zeros((CLASSES, CLASSES), int))

    assert torch.equal(ours(), torchmetrics()) and np.array_equal(ours().numpy(), bincount()), "counts differ"
    times = interleaved(bench.some(15), ours=ours, torchmetrics=torchmetrics, bincount=bincount)
    return [
        ratio("20 masks 360x480, against torchmetrics", times, "torchmetrics", least=40),
        ratio("20 masks 360x480, against np.bincount on int64", times, "bincount", least=20),
    ]


# ---- data path


def memory_batches(images: np.ndarray, masks: np.ndarray, views: WeakViews) -> Batches:
    """One training stream of batches of 8."""
    labelled, nothing = Pool(images, masks, 0, "labelled"), Pool(images[:0], masks[:0], 0, "unlabelled")
    return Batches([(labelled, 8)], len(images), (nothing, 0), views, Normalise(*IMAGENET), CLASSES)


def plain_sample(path: Path, views: WeakViews, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """The same weak view by PIL: decode, resize the whole image, cut or pad, flip, ToTensor, Normalize."""
    from torchvision.transforms.functional import normalize, to_tensor

    image, mask = Image.open(path).convert("RGB"), Image.open(path.with_suffix(".mask.png"))
    scale = rng.choice(views.scales)
    size = [round(side * scale) for side in image.size]
    shift = rng.integers(-views.shift, views.shift + 1, 2)
    rooms = zip(rng.random(2), image.size, size, shift, strict=True)
    corner = tuple(int(r * (side - s) + d) for r, side, s, d in rooms)
    canvas, target = Image.new("RGB", image.size, (124, 116, 104)), Image.new("L", image.size, IGNORE)
    canvas.paste(image.resize(size, Image.Resampling.BILINEAR), corner)
    target.paste(mask.resize(size, Image.Resampling.NEAREST), corner)
    if rng.random() < views.flip:
        canvas, target = (picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for picture in (canvas, target))
    return normalize(to_tensor(canvas), *IMAGENET), torch.from_numpy(np.array(target)).long()


def data_path(bench: Bench) -> list[Result]:
    """A batch of 8 from memory against 8 PNG files through PIL; and its share in a step of a small network."""
    views = WeakViews(**YAML(typ="safe").load(read_preset("camvid"))["supervised"]["views"])
    images, masks = scenes(32, LARGE)
    paths = [bench.folder / f"{number}.png" for number in range(len(images))]
    for path, image, mask in zip(paths, images, masks, strict=True):
        Image.fromarray(image).save(path)
        Image.fromarray(mask).save(path.with_suffix(".mask.png"))
    batches, rng, steps = memory_batches(images, masks, views), np.random.default_rng(0), iter(range(1 << 30))

    def plain() -> tuple[Tensor, Tensor]:
        x, y = zip(*(plain_sample(paths[i], views, rng) for i in rng.integers(0, len(paths), 8)), strict=True)
        return torch.stack(x), torch.stack(y)

    times = interleaved(bench.some(25, 5), ours=lambda: batches(next(steps)), plain=plain)
    small = memory_batches(*scenes(32, SMALL), views)
    step = BareStep(network(HALF), *random_batch(SMALL))
    both = interleaved(bench.some(25, 5), data=lambda: small(next(steps)), step=step)
    share = 100 * both["data"] / sum(both.values())
    return [
        ratio("batch of 8 weak views 360x480, against PIL per image", times, "plain", least=10),
        Result("share of it in a step, dsnet 0.5 180x240 batch 8", share, "%", most=10, absolute=both),
    ]


# ---- label store


def label_store(bench: Bench) -> list[Result]:
    """Writing and random reading of label maps, against one PNG file per image."""
    items = labelled_items(bench.some(96, 48), bench.some(48, 24))
    order = np.random.default_rng(0).permutation(len(items))
    pictures, bare, store = bench.folder / "png", bench.folder / "bare.h5", bench.folder / "labels.h5"
    pictures.mkdir()

    def write_png() -> None:
        for item in items:
            Image.fromarray(item.label).save(pictures / f"{item.stem}.png")

    def write_bare() -> None:
        with create(bare, "bare", 1) as file:
            group = file.create_group("label")
            for item in items:
                add_image(group, item.stem, item.label)

    def write_store() -> None:
        write_labels(store, items, NAMES)

    def read_png() -> list[np.ndarray]:
        return [np.array(Image.open(pictures / f"{items[i].stem}.png")) for i in order]

    rounds = bench.some(9)
    written = interleaved(rounds, png=write_png, label=write_bare, both=write_store)
    with Labels(store) as labels, h5py.File(bare) as file:
        group = file["label"]

        def read_bare() -> list[np.ndarray]:
            return [group[items[i].stem][:] for i in order]

        def read_store() -> list[np.ndarray]:
            return [labels.label(items[i].stem) for i in order]

        assert all(np.array_equal(a, b) for a, b in zip(read_png(), read_store(), strict=True)), "labels differ"
        read = interleaved(rounds, png=read_png, label=read_bare, both=read_store)
        sizes = {f"{kind}_kb": stored_kb(labels.file[kind]) for kind in ("label", "confidence")}
    written, read = ({key: value / len(items) for key, value in times.items()} for times in (written, read))
    sizes["png_kb"] = float(np.mean([path.stat().st_size for path in pictures.iterdir()])) / 1000
    note = "without histograms and CRCs"
    return [
        ratio("write labels 360x480 gzip-1, against PNG", written, "png", "label", least=4),
        ratio("read labels at random, against PNG", read, "png", "label", least=2),
        ratio("write labels and confidences (all that a store holds), against PNG labels", written, "png", "both"),
        ratio("Labels.label, checked by CRC with its confidence, against PNG labels", read, "png", "both"),
        Result("size of a label against PNG", sizes["label_kb"] / sizes["png_kb"], absolute=sizes, note=note),
    ]


def stored_kb(group: h5py.Group) -> float:
    """Mean compressed size of the images of a group."""
    return sum(image.id.get_storage_size() for image in group.values()) / len(group) / 1000


# ---- filter


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


def filtering(bench: Bench) -> list[Result]:
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
        times = interleaved(
            bench.some(5, 2),
            ours=lambda: filter_store(out, labels, unlabelled, minimum, ""),
            float32=lambda: filter_float32(plain_source, plain_out),
        )
    with Labels(out) as ours, h5py.File(plain_out) as plain:
        same = all(np.array_equal(ours.label(n), plain["label"][i]) for i, n in enumerate(unlabelled[:20]))
    assert same, "the filtered labels differ"
    seconds, torch_loaded = filter_stage(bench, source, unlabelled, validation)
    return [
        ratio("300 images 360x480, against float32 confidences", times, "float32", least=3),
        Result("filter_store", count / times["ours"], "images/s", least=500),
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

    seconds = interleaved(bench.some(5, 2), stage=lambda: run("-m", "stages.filter"))["stage"]
    loaded = run("-c", "import sys; from stages.filter import main; main(); print('torch' in sys.modules)")
    return seconds, loaded.split()[-1] == "True"


# ---- label stage


def publish(path: Path, section: dict[str, Any], size: tuple[int, int], base: str | None = None) -> str:
    """A model file of an untrained network; return its digest."""
    mean, std = (list(values) for values in IMAGENET)
    published = {**section, "weights": None} if "weights" in section else section
    header = Header(published, NAMES, [[0, 0, 0]] * CLASSES, mean, std, list(size), {}, {"base": base})
    return save_model(path, network(published), header)


def labelling_rate(bench: Bench, predictor: Predictor, size: tuple[int, int], count: int) -> dict[str, float]:
    """Seconds per image of the label stage's loop and of the bare networks."""
    images, masks = scenes(8, size)
    names = [f"i{number:04d}" for number in range(count)]
    x = Normalise(*IMAGENET)(torch.from_numpy(images))
    shards = bench.folder / "shards"

    with Images(image_store(bench.folder / f"label{size[0]}.h5", names, images, masks)) as store:

        def ours() -> None:
            shutil.rmtree(shards, ignore_errors=True)
            shards.mkdir()
            label_in_shards(predictor, store, names, shards, "label")

        @torch.inference_mode()
        def bare() -> None:
            for _ in range(0, count, BATCH):
                probabilities = predictor.model.net(x).softmax(1)
                if predictor.judge:
                    predictor.judge.net(probabilities)

        times = interleaved(bench.some(5, 2), ours=ours, bare=bare)
    return {key: value / count for key, value in times.items()}


def label_stage(bench: Bench) -> list[Result]:
    """Images a second of the label stage, start-up excluded, in percent of the bare networks' rate."""
    model, judge, small, small_judge = (bench.folder / name for name in ("model", "judge", "small", "small_judge"))
    publish(judge, {"name": "auxiliary", "width": 1.0}, LARGE, publish(model, WHOLE, LARGE))
    cases = {"dsnet 1 + auxiliary 1, 360x480": (Predictor(model, judge), LARGE, bench.some(SHARD, 16))}
    try:
        digest = publish(small, camvid_small(), SMALL)
        publish(small_judge, {"name": "auxiliary", "width": 0.5}, SMALL, digest)
        cases["lite0 + auxiliary 0.5, 180x240"] = (Predictor(small, small_judge), SMALL, SHARD)
        cases["lite0 alone, 180x240"] = (Predictor(small), SMALL, SHARD)
    except ConfigError as error:
        print(f"  {error}")
    results = []
    for what, (predictor, size, count) in cases.items():
        times = labelling_rate(bench, predictor, size, count)
        share = 100 * times["bare"] / times["ours"]
        rate = {"images_per_s": 1 / times["ours"], "bare_images_per_s": 1 / times["bare"]}
        results.append(Result(f"{what}, of the bare rate", share, "%", least=85, absolute=rate))
    return results


# ---- step overhead


class Stamps(LabelledData):
    """Stands in for the loop's batches; times the loop between its calls, and a bare step at each of them.

    Odd steps get a batch that is there already, even ones have theirs made.
    """

    def __init__(self, batches: Batches, ready: Batch, bare: BareStep):
        self.batches, self.ready, self.bare, self.counts = batches, ready, bare, batches.counts
        self.loop: dict[int, list[float]] = {0: [], 1: []}
        self.plain: list[float] = []
        self.last = 0.0

    def __call__(self, step: int) -> Batch:
        now = perf_counter()
        if step > 2:
            self.loop[(step - 1) % 2].append(now - self.last)
        begin = perf_counter()
        self.bare()
        self.last = perf_counter()
        self.plain.append(self.last - begin)
        return self.ready if step % 2 else self.batches(step)


def step_overhead(bench: Bench) -> list[Result]:
    """A step of ``fit`` with Supervised, less the bare step of the same network and batch, in percent of the latter."""
    results = []
    for name, section, size in (("dsnet 0.5", HALF, SMALL), ("dsnet 0.5", HALF, (96, 128))):
        batches = memory_batches(*scenes(32, size), WeakViews(scales=[0.8, 1.0, 1.3, 1.7]))
        x, y = random_batch(size)
        optimiser = OptimiserConfig(name="adamw", lr=1e-4)
        steps = bench.some(60, 20)
        config = SupervisedConfig(steps=steps, batch=8, optimiser=optimiser)
        learner = Supervised(
            config, Task(NAMES, section, lambda section=section: network(section), Normalise(*IMAGENET))
        )
        stamps = Stamps(batches, Batch(x, y, x[:0]), BareStep(network(section), x, y, learner.weights))
        folder = Path(tempfile.mkdtemp(dir=bench.folder))
        fit(learner, stamps, config, seed=0, folder=folder, checkpoint_seconds=1e9)
        bare, ready, made = (median(times) for times in (stamps.plain[2:], stamps.loop[1], stamps.loop[0]))
        what, absolute = f"{name} {size[0]}x{size[1]} batch 8", {"bare": bare, "loop": ready, "loop_with_batch": made}
        results += [
            Result(f"{what}, the loop alone", 100 * (ready / bare - 1), "%", most=10, absolute=absolute),
            Result(f"{what}, with making the batch", 100 * (made / bare - 1), "%"),
        ]
    return results


# ---- no-op


def no_op(bench: Bench) -> list[Result]:
    """``dvc repro`` where nothing has changed."""
    what = "dvc repro with nothing to do"
    dvc = [sys.executable, "-m", "dvc"]
    status = subprocess.run([*dvc, "status", "--json"], cwd=ROOT, capture_output=True, text=True, check=False)
    if status.returncode or json.loads(status.stdout or "{}"):
        return [Result(what, None, "s", most=1.5, note="data/ or models/ are not up to date: run 'dvc repro' first")]

    def repro() -> None:
        subprocess.run([*dvc, "repro"], cwd=ROOT, capture_output=True, check=True)

    return [Result(what, interleaved(bench.some(5, 2), repro=repro)["repro"], "s", most=1.5)]


MEASUREMENTS: dict[str, Callable[[Bench], list[Result]]] = {
    "allocator": allocator,
    "confusion": confusion_matrix,
    "data": data_path,
    "labels": label_store,
    "filter": filtering,
    "label_stage": label_stage,
    "step": step_overhead,
    "no_op": no_op,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MEASUREMENTS)}; default all")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/speed.json")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 = every core, as the stages do")
    args = parser.parse_args()
    unknown = sorted(set(args.names) - set(MEASUREMENTS))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; expected of {', '.join(MEASUREMENTS)}")
    threads = args.threads or len(os.sched_getaffinity(0))
    keep_memory()
    torch.set_num_threads(threads)
    where = {**describe(), "threads": threads, "quick": args.quick, "torchmetrics": version("torchmetrics")}
    old = json.loads(args.out.read_text()) if args.out.is_file() else {}
    results = old.get("results", {}) if old.get("environment") == where else {}  # a part can be measured again
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for name in args.names or MEASUREMENTS:
        print(f"{name}: {MEASUREMENTS[name].__doc__}")
        with tempfile.TemporaryDirectory() as folder:
            found = MEASUREMENTS[name](Bench(Path(folder), threads, args.quick))
        print("\n".join(result.line() for result in found))
        results[name] = [result.plain() for result in found]
        args.out.write_text(json.dumps({"environment": where, "results": results}, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
