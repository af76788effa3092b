"""How fast the parts of this project are, each against the plain way, with its target.

    python -m benchmarks [NAME ...] [--quick] [--out FOLDER]

Measures the subjects named, or all; prints a table and writes FOLDER/NAME.json with the machine and its versions.
Costs: 20 minutes on two cores; with --quick, a few minutes.
"""

import argparse
import json
import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import describe
from benchmarks.timing import Bench, Result
from fewmask.core.files import write_text
from fewmask.core.progress import say
from fewmask.core.stage import run_command
from fewmask.nets.base.device import choose_device, cores, start

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Setup:
    """Of the process: torch's threads, 0 for every core, and whether its algorithms are deterministic, as in stages.

    Where code of others is measured beside ours, determinism may send it down a slow path of its own.
    """

    threads: int = 0
    deterministic: bool = False


SUBJECTS = {
    "allocator": Setup(),
    "confusion": Setup(),
    "views": Setup(),
    "labels": Setup(),
    "filter": Setup(),
    "label_stage": Setup(),
    "step": Setup(),
    "no_op": Setup(),
    "contrast_loss": Setup(deterministic=True),
    "contrast_memory": Setup(threads=1, deterministic=True),
    "contrast_step": Setup(deterministic=True),
    "strong_views": Setup(threads=1, deterministic=True),
    "ema": Setup(threads=1),
    "routing": Setup(threads=1),
}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SUBJECTS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller inputs")
    parser.add_argument("--threads", type=int, help="of torch; default: every core, or one where a subject asks for it")
    parser.add_argument("--device", default="auto", help="for contrast_* and routing")
    parser.add_argument("--models", type=Path, nargs="*", default=[], help="routing: measure the latency of these")
    parser.add_argument("--images", type=Path, default=ROOT / "data/images.h5", help="routing: on these images")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results")
    return parser


def measure(name: str, bench: Bench) -> list[Result]:
    """Set the process up, and measure one subject."""
    start(None)
    torch.use_deterministic_algorithms(SUBJECTS[name].deterministic)
    torch.set_num_threads(bench.threads)
    found: list[Result] = import_module(f"benchmarks.{name}").measure(bench)
    return found


def main() -> None:
    parser = arguments()
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in SUBJECTS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; expected some of {', '.join(SUBJECTS)}")
    device = choose_device(args.device)
    gpu = {"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}
    for name in args.names or SUBJECTS:
        threads = args.threads or SUBJECTS[name].threads or cores()
        say(f"{name}:")
        with tempfile.TemporaryDirectory() as folder:
            results = measure(
                name, Bench(Path(folder), threads, args.quick, device.type, tuple(args.models), args.images)
            )
        say("\n".join(result.line() for result in results))
        environment: dict[str, Any] = {**describe(), **gpu, "threads": threads, "quick": args.quick}
        record = {"environment": environment, "results": [result.plain() for result in results]}
        write_text(args.out / f"{name}.json", json.dumps(record, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    run_command(main)
