"""One update of an averaged teacher: fused, against a loop over the parameters, as most published code has it."""

import copy

import torch
from torch import nn

from benchmarks.timing import Bench, Result, take_turns
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


def measure(bench: Bench) -> list[Result]:
    """For two networks."""
    return [update(name, bench.some(31)) for name in NETWORKS]


def update(name: str, rounds: int) -> Result:
    """The ratio for one network; seconds are of one update."""
    student = build(NETWORKS[name], 21)
    teacher, plain = Ema(student), copy.deepcopy(student)
    turns = take_turns(rounds, fused=lambda: teacher.update(student, DECAY), loop=lambda: loop(plain, student))
    return turns.against(f"averaged teacher: update, {name}, against a loop", "loop", "fused", least=5.0)
