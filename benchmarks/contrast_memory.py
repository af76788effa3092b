"""Peak memory of the contrastive loss against the pairwise way's, and how often each waits for a device."""

import ctypes
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from benchmarks.contrast_case import CHANNELS, Case, cases, named
from benchmarks.inputs import ROOT
from benchmarks.timing import Bench, Result
from fewmask.nets.base.device import start

MIB = 2**20
SYNCHRONISING = ("item", "tolist", "__bool__", "__int__", "__float__", "__index__", "cpu", "numpy", "nonzero")


def measure(bench: Bench) -> list[Result]:
    """Memory in processes of their own."""
    return [result for total, classes in cases(bench) for result in memory(bench, total, classes)] + waiting(bench)


def memory(bench: Bench, total: int, classes: int) -> list[Result]:
    """Peak beyond the inputs, relative to the reference's; of ``sampled`` what is left beside the gradient."""
    peaks, case = {}, named(total, classes)
    for name in ("reference", "exact", "sampled"):
        call = f"child_peak('{name}', {total}, {classes}, '{bench.device}')"
        peaks[name] = median(in_a_process(call) for _ in range(bench.some(3, 1)))
    found = []
    for name, most in (("exact", 0.55), ("sampled", None)):
        absolute = {f"{key} MiB": peaks[key] for key in (name, "reference")}
        found.append(
            Result(f"peak memory: {name}, {case}", peaks[name] / peaks["reference"], most=most, absolute=absolute)
        )
    rest = peaks["sampled"] - total * CHANNELS * 4 / MIB
    return [*found, Result(f"peak memory: sampled, {case}, less the gradient of all vectors", rest, "MiB")]


def in_a_process(call: str) -> float:
    """What a call of this module prints in a process of its own."""
    run = [sys.executable, "-c", f"from benchmarks.contrast_memory import child_peak; {call}"]
    return float(subprocess.run(run, cwd=ROOT, capture_output=True, check=True, text=True).stdout)


def child_peak(name: str, total: int, classes: int, device: str) -> None:
    """In a process of its own: print MiB that three calls take at most beyond what was there before, gradients of
    parameters and vectors included."""
    start(None)
    torch.set_num_threads(1)
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


def waiting(bench: Bench) -> list[Result]:
    """Calls that wait for a device."""
    results = []
    for classes in (19, 21):
        case = Case.make(bench.some(37000, 5000), classes, bench.device)
        for name, most in (("exact", 1), ("sampled", 1), ("reference", None)):
            count = waits(getattr(case, f"of_{name}"), bench.device)
            results.append(Result(f"host synchronisations: {name}, C = {classes}", count, "a call", most=most))
    return results
