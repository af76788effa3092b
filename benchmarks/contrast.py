"""The pixel contrast: time, memory and host synchronisations of its loss, and what it adds to a training step.

    python -m benchmarks.contrast [loss memory synchronisations sampled step] [--device cuda] [--rounds N]

P vectors of 256 numbers, 256 a class in the memory, forward and backward. ``exact`` takes all of them, ``sampled``
1024 a class, drawn anew; ``products`` is what ``exact`` cannot go below; ``reference`` is contrast_reference.py, the
released code's manner. Before anything is timed, ``exact`` and ``reference`` are compared, value and gradients. Where
other work has the cores, two threads need OMP_WAIT_POLICY=PASSIVE.
"""

import argparse
import ctypes
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from ruamel.yaml import YAML
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from benchmarks.contrast_reference import PairwiseLoss, gathered
from benchmarks.machine import describe
from benchmarks.speed import IMAGENET, scenes
from benchmarks.timing import Result
from fewmask.checking.presets import read_preset
from fewmask.learning.learner import Batch, Task
from fewmask.learning.recipe import build_from
from fewmask.methods.contrastive.attention import ClassAttention
from fewmask.methods.contrastive.contrastive import Config, Contrastive
from fewmask.methods.contrastive.groups import sample
from fewmask.methods.contrastive.loss import contrastive_loss
from fewmask.methods.contrastive.memory import Memory
from fewmask.nets.base.device import keep_memory
from fewmask.nets.base.normalise import Normalise

ROOT = Path(__file__).resolve().parents[1]
CASES = [(total, classes) for total in (37000, 100000) for classes in (19, 21)]
CHANNELS, SIZE, DRAWN = 256, 256, 1024
MIB = 2**20
SYNCHRONISING = ("item", "tolist", "__bool__", "__int__", "__float__", "__index__", "cpu", "numpy", "nonzero")


def medians_of_ratios(rounds: int, **runs: Callable[[], object]) -> tuple[dict[str, float], dict[str, float]]:
    """Runs in turn, after one turn that does not count -> median seconds, and medians over turns of the first run's
    time relative to each: a neighbour's load that lasts longer than a turn cancels."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            begin = perf_counter()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number:
                times[name].append(perf_counter() - begin)
    first = next(iter(times.values()))
    ratios = {name: median(a / b for a, b in zip(first, taken, strict=True)) for name, taken in times.items()}
    return {name: median(taken) for name, taken in times.items()}, ratios


# ---- the loss


@dataclass
class Case:
    """P vectors around the centre of their class, a full memory, and parameters that both ways share."""

    vectors: Tensor
    labels: Tensor
    memory: Memory
    attention: ClassAttention
    memory_attention: ClassAttention
    reference: PairwiseLoss

    @classmethod
    def make(cls, total: int, classes: int, device: str) -> "Case":
        torch.manual_seed(0)
        side = int(total**0.5) + 1
        field = F.interpolate(torch.randn(1, classes, 9, 9), (side, side), mode="bilinear")  # regions, as in a mask
        labels = field[0].argmax(0).flatten()[:total].to(device)
        centres = torch.randn(classes, CHANNELS, device=device)
        memory = Memory(classes, SIZE, CHANNELS).to(device)
        noise = torch.randn(classes, SIZE, CHANNELS, device=device)
        memory.vectors.copy_(F.normalize(centres[:, None] + noise, dim=2))
        memory.filled.fill_(SIZE)
        attention, other = (ClassAttention(classes, CHANNELS, CHANNELS).to(device) for _ in range(2))
        reference = PairwiseLoss([each.cpu().numpy().copy() for each in memory.vectors], attention, other)
        vectors = torch.randn(total, CHANNELS, device=device)
        vectors += centres[labels]
        return cls(vectors.requires_grad_(), labels, memory, attention, other, reference)

    def clear(self) -> None:
        for leaf in (self.vectors, *self.attention.parameters(), *self.memory_attention.parameters()):
            leaf.grad = None
        self.reference.zero_grad()

    def of_reference(self) -> Tensor:
        self.clear()
        loss = self.reference(self.vectors, self.labels)
        loss.backward()
        return loss.detach()

    def of_exact(self) -> Tensor:
        self.clear()
        loss = contrastive_loss(self.vectors, self.labels, self.memory, self.attention, self.memory_attention)
        loss.backward()
        return loss.detach()

    def of_sampled(self) -> Tensor:
        self.clear()
        drawn = sample(self.labels, len(self.memory.filled), DRAWN)
        rows = drawn[drawn >= 0]
        vectors, labels = self.vectors.index_select(0, rows), self.labels[rows]
        loss = contrastive_loss(vectors, labels, self.memory, self.attention, self.memory_attention)
        loss.backward()
        return loss.detach()

    def of_products(self) -> Tensor:
        """The two large products of the attention alone, in equal parts: what an exact loss cannot go below."""
        classes, channels, _ = self.attention.inner.shape
        x = self.vectors.detach()[: len(self.vectors) // classes * classes].view(classes, -1, channels)
        return torch.bmm(x.transpose(1, 2), torch.bmm(x, self.attention.inner.detach()))

    def require_equal(self) -> None:
        """Value and gradients of ``exact`` are those of ``reference``."""
        theirs, to_theirs = self.of_reference(), [self.gradient()]
        modules = (self.reference.attention, self.reference.memory_attention)
        to_theirs += [g for module in modules for g in gathered(module)]
        ours, to_ours = self.of_exact(), [self.gradient()]
        for attention in (self.attention, self.memory_attention):
            names = ("inner", "scale", "shift", "outer", "bias")
            to_ours += [getattr(attention, name).grad for name in names]
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
        for found, expected in zip(to_ours, to_theirs, strict=True):
            assert (found - expected).norm() < 1e-3 * expected.norm()  # tests/contrast: 1e-9 in float64
        self.clear()

    def gradient(self) -> Tensor:
        """Of the vectors, after a call."""
        assert self.vectors.grad is not None
        return self.vectors.grad


def named(total: int, classes: int) -> str:
    return f"P = {total}, C = {classes}"


def loss(rounds: int, device: str, threads: list[int]) -> list[Result]:
    """How many times faster than the reference."""
    results = []
    for total, classes in CASES:
        case = Case.make(total, classes, device)
        case.require_equal()
        for number in threads:
            torch.set_num_threads(number)
            names = ("reference", "exact", "sampled", "products")
            seconds, ratios = medians_of_ratios(rounds, **{name: getattr(case, f"of_{name}") for name in names})
            end = f"{named(total, classes)}, {number} threads"
            targets = {"exact": 1.9, "sampled": 5.0 if total == 100000 else None, "products": None}
            for name, least in targets.items():
                absolute = {key: seconds[key] for key in (name, "reference")}
                results.append(Result(f"time: {name}, {end}", ratios[name], least=least, absolute=absolute))
    return results


def child_peak(name: str, total: int, classes: int, device: str) -> None:
    """In a process of its own: print MiB that three calls take at most beyond what was there before, gradients of
    parameters and vectors included."""
    started(1)
    small = Case.make(1000, classes, device)  # loads what a first call loads
    getattr(small, f"of_{name}")()
    del small
    case = Case.make(total, classes, device)
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        for _ in range(3):
            getattr(case, f"of_{name}")()
        print((torch.cuda.max_memory_allocated() - before) / MIB)
        return
    ctypes.CDLL(None).malloc_trim(0)  # what making the inputs left behind would be used again, and not be counted
    before = resident("VmRSS")
    for _ in range(3):
        getattr(case, f"of_{name}")()
    print((resident("VmHWM") - before) / MIB)


def resident(key: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))


def memory(rounds: int, device: str, threads: list[int]) -> list[Result]:
    """Peak memory beyond the inputs, relative to the reference's; of ``sampled`` what is left beside the gradient."""
    results = []
    for total, classes in CASES:
        peaks = {}
        for name in ("reference", "exact", "sampled"):
            code = f"from benchmarks.contrast import child_peak; child_peak('{name}', {total}, {classes}, '{device}')"
            run = [sys.executable, "-c", code]
            taken = [subprocess.run(run, cwd=ROOT, capture_output=True, check=True, text=True) for _ in range(3)]
            peaks[name] = median(float(each.stdout) for each in taken)
        for name, most in (("exact", 0.55), ("sampled", None)):
            absolute = {f"{key} MiB": peaks[key] for key in (name, "reference")}
            ratio = peaks[name] / peaks["reference"]
            results.append(Result(f"peak memory: {name}, {named(total, classes)}", ratio, most=most, absolute=absolute))
        rest = peaks["sampled"] - total * CHANNELS * 4 / MIB
        what = f"peak memory: sampled, {named(total, classes)}, less the gradient of all vectors"
        results.append(Result(what, rest, "MiB"))
    return results


class Watch(TorchFunctionMode):
    """Counts calls that wait for a device, a boolean mask as an index among them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(function, "__name__", "")
        masked = name == "__getitem__" and isinstance(args[1], Tensor) and args[1].dtype == torch.bool
        self.count += masked or name in SYNCHRONISING
        return function(*args, **(kwargs or {}))


def waits(run: Callable[[], Tensor], device: str) -> int:
    """How often one call waits for the device: as CUDA warns of it, or by the names of what is called."""
    if device == "cpu":
        with Watch() as watch:
            run()
        return watch.count
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


def synchronisations(rounds: int, device: str, threads: list[int]) -> list[Result]:
    """Calls that wait for a device."""
    results = []
    for total, classes in ((37000, 19), (37000, 21)):
        case = Case.make(total, classes, device)
        for name, most in (("exact", 1), ("sampled", 1), ("reference", None)):
            count = waits(getattr(case, f"of_{name}"), device)
            results.append(Result(f"host synchronisations: {name}, C = {classes}", count, "a call", most=most))
    return results


def sampled(rounds: int, device: str, threads: list[int]) -> list[Result]:
    """Bias and spread of the drawn loss and of its gradient, over 32 draws."""
    results = []
    for total, classes in ((37000, 19), (100000, 19)):
        case, end = Case.make(total, classes, device), named(total, classes)
        expected, exact = case.of_exact().item(), case.gradient()
        layer = case.vectors.detach().t() @ exact  # of a linear layer, had it made these vectors of themselves
        losses, mean, single = [], torch.zeros_like(exact), []
        for number in range(32):
            losses.append(case.of_sampled().item())
            gradient = case.gradient()
            single.append(F.cosine_similarity((case.vectors.detach().t() @ gradient).flatten(), layer.flatten(), 0))
            if number < 8:
                mean += gradient / 8
        drawn = torch.tensor(losses, dtype=torch.float64)
        bias, spread = drawn.mean().item() / expected - 1, drawn.std().item() / expected
        error = {"standard error of it": spread / 32**0.5}
        results += [
            Result(f"sampled: relative bias of the loss, {end}", bias, "", absolute=error),
            Result(f"sampled: relative standard deviation of the loss, {end}", spread, ""),
            Result(
                f"sampled: cosine of the vectors' gradient, mean of 8 draws, {end}",
                F.cosine_similarity(mean.flatten(), exact.flatten(), 0).item(),
                "",
            ),
            Result(f"sampled: cosine of a layer's gradient, one draw, {end}", torch.stack(single).mean().item(), ""),
        ]
    return results


# ---- a training step


def learner(preset: str, classes: int, device: str, **changes: Any) -> Contrastive:
    """On a preset's network; past the warm-up, with a full memory. The section is that of streets in every case."""
    read = YAML(typ="safe")
    network = dict(read.load(read_preset(preset))["network"])
    section = {**read.load(read_preset("streets"))["contrastive"], "warm_up": 0, **changes}
    torch.manual_seed(0)
    names = [f"class {number}" for number in range(classes)]
    task = Task(names, network, lambda: build_from(network, classes), Normalise(*IMAGENET, device))
    made = Contrastive(Config.model_validate(section), task).to(device).train()
    made.memory.vectors.copy_(F.normalize(torch.randn_like(made.memory.vectors), dim=2))
    made.memory.filled.fill_(made.memory.vectors.shape[1])
    made.images.fill_(100)
    made.labelled_pixels.fill_(1e5)
    return made


def stepper(made: Contrastive, batch: Batch) -> Callable[[], None]:
    """A whole step: both players' part of it, the optimiser's and what follows it."""
    optimiser = torch.optim.AdamW(made.student.parameters(), 1e-4, fused=True)

    def step() -> None:
        torch.manual_seed(1)  # the same views with and without
        for update in made.step(batch, 0.5):
            optimiser.zero_grad(set_to_none=True)
            update.loss.backward()
            optimiser.step()

    return step


WITHOUT: dict[str, Any] = {"lambda_contr": 0.0}
CHANGES: dict[str, dict[str, Any]] = {
    "64 channels": {"contrast": {"channels": 64}},
    "64 channels, 256 of a class": {"contrast": {"channels": 64, "max_pixels_per_class": 256}},
    "256 channels": {"contrast": {"channels": 256}},
    "256 channels, 256 of a class": {"contrast": {"channels": 256, "max_pixels_per_class": 256}},
}


def step(rounds: int, device: str, threads: list[int]) -> list[Result]:
    """A step of the learner with the contrast, relative to one without; 4 labelled images and 2 others."""
    results = []
    for preset, size in (("streets", (96, 128)), ("camvid_small", (180, 240))):
        images, masks = scenes(6, size)
        x = Normalise(*IMAGENET, device)(torch.from_numpy(images).to(device))
        batch = Batch(x[:4], torch.from_numpy(masks[:4]).long().to(device), x[4:])
        for number in threads:
            torch.set_num_threads(number)
            runs = {name: stepper(learner(preset, 11, device, **more), batch) for name, more in CHANGES.items()}
            without = stepper(learner(preset, 11, device, **WITHOUT), batch)
            seconds, ratios = medians_of_ratios(rounds, without=without, **runs)
            for name in CHANGES:
                what = f"step: {preset} {size[0]}x{size[1]}, {name}, {number} threads"
                absolute = {"with": seconds[name], "without": seconds["without"]}
                results.append(Result(what, 1 / ratios[name], most=1.35, absolute=absolute))
    return results


PARTS = {"loss": loss, "memory": memory, "synchronisations": synchronisations, "sampled": sampled, "step": step}


def started(threads: int) -> None:
    """As stages are."""
    keep_memory()
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.set_num_threads(threads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=[], help="some of " + ", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/contrast.json")
    arguments = parser.parse_args()
    started(1)
    waiting = os.environ.get("OMP_WAIT_POLICY", "")
    environment = {**describe(), "device": arguments.device, "rounds": arguments.rounds, "wait_policy": waiting}
    found = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    record = found if found.get("environment") == environment else {"environment": environment, "results": {}}
    for part in arguments.parts or PARTS:
        results = PARTS[part](arguments.rounds, arguments.device, arguments.threads)
        print("\n".join(result.line() for result in results), flush=True)
        record["results"][part] = [result.plain() for result in results]
        arguments.out.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
        torch.set_num_threads(1)


if __name__ == "__main__":
    main()
