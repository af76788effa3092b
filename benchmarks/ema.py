"""One update of an averaged teacher: fused, against a loop over the parameters, as most published code has it.

python -m benchmarks.ema
"""

import argparse
import copy
import json
from pathlib import Path

import torch
from torch import nn

from benchmarks.machine import describe
from benchmarks.timing import Result, interleaved
from fewmask.consistency.ema import Ema
from fewmask.nets.base.published import build
from fewmask.nets.deeplabv2.deeplabv2 import Config as DeepLab
from fewmask.nets.dsnet.dsnet import Config as DSNet

NETWORKS = {"dsnet 0.5": DSNet(width=0.5, blocks=[2, 2, 2, 2]), "deeplabv2 resnet101": DeepLab()}
DECAY = 0.99


@torch.no_grad()
def loop(teacher: nn.Module, student: nn.Module) -> None:
    """theta' = a theta' + (1 - a) theta, one new tensor after another."""
    for own, new in zip(teacher.parameters(), student.parameters(), strict=True):
        own.data = DECAY * own.data + (1 - DECAY) * new.data


def measure(name: str, rounds: int) -> Result:
    """The ratio for one network; seconds are of one update."""
    student = build(NETWORKS[name], 21)
    teacher, plain = Ema(student), copy.deepcopy(student)
    times = interleaved(rounds, fused=lambda: teacher.update(student, DECAY), loop=lambda: loop(plain, student))
    ratio = times["loop"] / times["fused"]
    return Result(f"averaged teacher: update, {name}, against a loop", ratio, least=5.0, absolute=times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/ema.json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    results = [measure(name, args.rounds) for name in NETWORKS]
    print("\n".join(result.line() for result in results))
    environment = {**describe(), "threads": args.threads, "rounds": args.rounds}
    args.out.write_text(
        json.dumps({"environment": environment, "results": [r.plain() for r in results]}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
