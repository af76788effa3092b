"""A step of ``fit``, less the bare step of the same network and batch, in percent of the latter."""

from statistics import median
from time import perf_counter

from benchmarks.inputs import HALF, NAMES, SMALL, BareStep, memory_batches, network, random_batch, scenes
from benchmarks.timing import Bench, Result
from fewmask.learning.batches import Batches
from fewmask.learning.fit import fit
from fewmask.learning.learner import Batch, LabelledData, Task
from fewmask.learning.optim import OptimiserConfig
from fewmask.learning.views import WeakViews
from fewmask.methods.supervised.supervised import Config, Supervised
from fewmask.nets.base.normalise import Normalise
from fewmask.nets.base.weights import IMAGENET


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


def stamped(bench: Bench, size: tuple[int, int]) -> Stamps:
    """The times of a training of Supervised on images of ``size``."""
    batches = memory_batches(*scenes(32, size), WeakViews(scales=[0.8, 1.0, 1.3, 1.7]))
    x, y = random_batch(size)
    config = Config(steps=bench.some(60, 20), batch=8, optimiser=OptimiserConfig(name="adamw", lr=1e-4))
    learner = Supervised(config, Task(NAMES, HALF, lambda: network(HALF), Normalise(*IMAGENET)))
    stamps = Stamps(batches, Batch(x, y, x[:0]), BareStep(network(HALF), x, y, learner.weights))
    fit(learner, stamps, config, seed=0, folder=bench.new_folder(), checkpoint_seconds=1e9)
    return stamps


def measure(bench: Bench) -> list[Result]:
    """At two sizes; odd steps have a batch ready, even ones make theirs."""
    results = []
    for size in (SMALL, (96, 128)):
        stamps = stamped(bench, size)
        bare, ready, made = (median(times) for times in (stamps.plain[2:], stamps.loop[1], stamps.loop[0]))
        what, absolute = (
            f"dsnet 0.5 {size[0]}x{size[1]} batch 8",
            {"bare": bare, "loop": ready, "loop_with_batch": made},
        )
        results += [
            Result(f"{what}, the loop alone", 100 * (ready / bare - 1), "%", most=10, absolute=absolute),
            Result(f"{what}, with making the batch", 100 * (made / bare - 1), "%"),
        ]
    return results
