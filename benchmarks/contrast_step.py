"""A training step with the pixel contrast, relative to one without; 4 labelled images and 2 others."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from benchmarks.inputs import CLASSES, NAMES, scenes, section
from benchmarks.timing import Bench, Result, take_turns
from fewmask.learning.learner import Batch, Task
from fewmask.learning.recipe import build_from
from fewmask.methods.contrastive.contrastive import Config, Contrastive
from fewmask.nets.base.normalise import Normalise
from fewmask.nets.base.weights import IMAGENET

CHANGES: dict[str, dict[str, Any]] = {
    "64 channels": {"contrast": {"channels": 64}},
    "64 channels, 256 of a class": {"contrast": {"channels": 64, "max_pixels_per_class": 256}},
    "256 channels": {"contrast": {"channels": 256}},
    "256 channels, 256 of a class": {"contrast": {"channels": 256, "max_pixels_per_class": 256}},
}


def learner(preset: str, device: str, **changes: Any) -> Contrastive:
    """On a preset's network; past the warm-up, with a full memory. The section is that of streets in every case."""
    network, settings = section(preset, "network"), {**section("streets", "contrastive"), "warm_up": 0, **changes}
    torch.manual_seed(0)
    task = Task(NAMES, network, lambda: build_from(network, CLASSES), Normalise(*IMAGENET, device))
    made = Contrastive(Config.model_validate(settings), task).to(device).train()
    made.memory.vectors.copy_(F.normalize(torch.randn_like(made.memory.vectors), dim=2))
    made.memory.filled.fill_(made.memory.vectors.shape[1])
    made.images.fill_(100)
    made.labelled_area.fill_(100 / CLASSES)
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


def measure(bench: Bench) -> list[Result]:
    """On the networks of two presets."""
    results = []
    for preset, size in (("streets", (96, 128)), ("camvid_small", (180, 240))):
        images, masks = scenes(6, size)
        x = Normalise(*IMAGENET, bench.device)(torch.from_numpy(images).to(bench.device))
        batch = Batch(x[:4], torch.from_numpy(masks[:4]).long().to(bench.device), x[4:])
        for threads in sorted({1, bench.threads}):
            torch.set_num_threads(threads)
            title = f"step: {preset} {size[0]}x{size[1]}"
            results += with_and_without(bench, preset, batch, title, threads)
    return results


def with_and_without(bench: Bench, preset: str, batch: Batch, title: str, threads: int) -> list[Result]:
    """How many times as long a step is, for each of CHANGES."""
    runs = {name: stepper(learner(preset, bench.device, **more), batch) for name, more in CHANGES.items()}
    without = stepper(learner(preset, bench.device, lambda_contr=0.0), batch)
    turns = take_turns(bench.some(9, 1), without=without, **runs)
    return [
        Result(
            f"{title}, {name}, {threads} threads",
            turns.ratio(name, "without"),
            most=1.35,
            absolute=turns.seconds(name, "without"),
        )
        for name in CHANGES
    ]
