"""A training step with memory that glibc keeps, against glibc's default, in processes that take turns."""

import json
import subprocess
import sys

import torch

from benchmarks.inputs import LARGE, ROOT, SMALL, BareStep, random_batch, small_network
from benchmarks.timing import Bench, Result, Turns, take_turns
from fewmask.nets.base.device import keep_memory


def child_steps(keep: bool, threads: int, size: tuple[int, int], steps: int) -> None:
    """In a process of its own: print seconds of a training step and the network's name."""
    if keep:
        keep_memory()
    torch.set_num_threads(threads)
    name, net = small_network()
    step = BareStep(net, *random_batch(size))
    print(json.dumps([take_turns(steps, step=step).seconds()["step"], name]))


def child(keep: bool, threads: int, size: tuple[int, int], steps: int) -> tuple[float, str]:
    """Seconds of a step and the network's name, from a process of its own."""
    code = f"from benchmarks.allocator import child_steps; child_steps({keep}, {threads}, {size}, {steps})"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, text=True)
    seconds, name = json.loads(found.stdout)
    return seconds, name


def measure(bench: Bench) -> list[Result]:
    """At two sizes."""
    results = []
    for size, steps in ((SMALL, bench.some(10)), (LARGE, bench.some(4, 2))):
        turns: dict[str, list[float]] = {"ours": [], "default": []}
        name = ""
        for _ in range(bench.some(5, 2)):
            for way, taken in turns.items():
                seconds, name = child(way == "ours", bench.threads, size, steps)
                taken.append(seconds)
        what = f"step, {name} {size[0]}x{size[1]} batch 8, against glibc's default"
        results.append(Turns(turns).against(what, "default", least=1.4))
    return results
