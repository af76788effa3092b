"""The one training loop: every method of this project is trained by ``fit`` and by nothing else."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import nn

from fewmask.core.errors import NonFiniteError
from fewmask.core.progress import Progress, say
from fewmask.core.stage import Signals, Stopped
from fewmask.learning import checkpoint
from fewmask.learning.batches import Batches
from fewmask.learning.batchnorm import set_batch_norm
from fewmask.learning.config import FitConfig
from fewmask.learning.learner import Batch, Learner, Update
from fewmask.learning.optim import make_optimiser, set_rate
from fewmask.learning.seeding import torch_seed
from fewmask.learning.sizes import sizes_checked

ROWS = 100  # of a history file: means over equal parts of the training


@dataclass
class History:
    """Means of the logged terms over equal parts of the training; ``rows`` become metrics/history/<fit>.csv."""

    steps: int
    rows: list[dict[str, float]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)  # a term may begin, or stop, within a row

    def add(self, step: int, rate: float, terms: dict[str, float]) -> None:
        """Note one finished step (counted from 1)."""
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1
        if step % max(1, self.steps // ROWS) == 0 or step == self.steps:
            means = {name: total / self.counts[name] for name, total in self.sums.items()}
            self.rows.append({"step": step, "rate": rate, **means})
            self.sums, self.counts = {}, {}


def fit(
    learner: Learner,
    batches: Callable[[int], Batch] | Batches,
    config: FitConfig,
    *,
    seed: int,
    folder: Path,
    name: str = "fit",
    checkpoint_seconds: float = 60.0,
) -> list[dict[str, float]]:
    """Train ``learner`` in place for ``config.steps`` steps; return the history's rows.

    Checkpoints go to ``folder``, and one found there is continued. Batches and torch's random numbers are functions of
    (seed, step) alone. So a training that is stopped and run again ends, on a CPU with as many threads, in the bits of
    one that was not.

    Raises:
        ConfigError: views or batches are too small for a layer.
        NonFiniteError: a loss or gradient is not finite; the update is not made.
        Stopped: SIGTERM or Ctrl-C arrived; a checkpoint of the last whole step is on disk.
    """
    optimisers, history = _prepared(learner, config), History(config.steps)
    first = _resume(folder, learner, optimisers, history, name)
    if first == 0:
        learner.begin(batches)  # type: ignore[arg-type]
    saved = monotonic()
    with Signals() as signals, Progress(name, config.steps, "step", first) as progress:
        for step in range(first, config.steps):
            torch.manual_seed(torch_seed(seed, "step", step))
            t = step / config.steps
            with sizes_checked(learner) if step == first else nullcontext():  # every batch has the same size
                terms = _one_step(learner, batches(step), t, optimisers, config, step)
            history.add(step + 1, config.optimiser.rate(t), terms)
            progress.show(step + 1, "  ".join(f"{key} {value:.3f}" for key, value in terms.items()))
            if signals.number or monotonic() - saved > checkpoint_seconds:
                _save(folder, step + 1, learner, optimisers, history)
                saved = monotonic()
            if signals.number:
                raise Stopped(signals.number)
    return history.rows


def _prepared(learner: Learner, config: FitConfig) -> dict[str, torch.optim.Optimizer]:
    """Put the learner into training mode, with its batch norms as the config says; return an optimiser a player."""
    learner.train()
    for module in learner.players().values():
        set_batch_norm(module, config.batch_norm)
    return {player: make_optimiser(module, config.optimiser_of(player)) for player, module in learner.players().items()}


def _one_step(
    learner: Learner,
    batch: Batch,
    t: float,
    optimisers: dict[str, torch.optim.Optimizer],
    config: FitConfig,
    step: int,
) -> dict[str, float]:
    """Run one ``step`` generator to its end, one optimiser step for each update; return the logged terms."""
    updates = learner.step(batch, t)
    logged: dict[str, float] = {}
    while True:
        with _precision(config.precision, batch.x_l.device):
            update = next(updates, None)
        if update is None:
            return logged
        own = config.optimiser_of(update.player)
        set_rate(optimisers[update.player], own.rate(t))
        terms = _optimise(learner.players()[update.player], optimisers[update.player], update, step, own.clip)
        logged = terms | logged  # of several players, "loss" is the first's


def _optimise(
    player: nn.Module, optimiser: torch.optim.Optimizer, update: Update, step: int, clip: float | None
) -> dict[str, float]:
    optimiser.zero_grad(set_to_none=True)
    trained = [parameter for parameter in player.parameters() if parameter.requires_grad]
    update.loss.backward(inputs=trained)  # whatever else the loss went through, another player, gets no gradient
    gradients = [parameter.grad for parameter in trained if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients) if gradients else update.loss.new_zeros(())
    names = ["loss", *update.terms] if list(update.terms) != ["loss"] else ["loss"]
    values = torch.stack([update.loss, *update.terms.values(), norm] if len(names) > 1 else [update.loss, norm])
    *numbers, size = values.detach().float().tolist()  # the one host synchronisation of an update
    terms = dict(zip(names, numbers, strict=True))
    if not math.isfinite(sum(numbers) + size):
        listed = ", ".join(f"{key} {value:g}" for key, value in terms.items())
        found = f"step {step}: {update.player} is not finite ({listed}, gradient norm {size:g})"
        raise NonFiniteError(
            f"{found}; its update was not made. Lower optimiser.lr or look at the images; then run again."
        )
    if clip is not None:
        torch.nn.utils.clip_grads_with_norm_(trained, clip, norm)
    optimiser.step()
    return terms


def _precision(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    cuda = device.type == "cuda" and torch.cuda.is_bf16_supported()
    use = precision == "bfloat16" or (precision == "auto" and cuda)
    return torch.autocast(device.type, torch.bfloat16, enabled=use)


def _save(
    folder: Path, step: int, learner: Learner, optimisers: dict[str, torch.optim.Optimizer], history: History
) -> None:
    state = {
        "step": step,
        "learner": learner.state_dict(),
        "optimisers": {player: optimiser.state_dict() for player, optimiser in optimisers.items()},
        "history": {"rows": history.rows, "sums": history.sums, "counts": history.counts},
    }
    checkpoint.save(folder, step, state)


def _resume(
    folder: Path, learner: Learner, optimisers: dict[str, torch.optim.Optimizer], history: History, name: str
) -> int:
    """Load the newest checkpoint, if any, and return the number of steps already done."""
    state = checkpoint.load_newest(folder)
    if state is None:
        return 0
    learner.load_state_dict(state["learner"])
    for player, optimiser in optimisers.items():
        optimiser.load_state_dict(state["optimisers"][player])
    history.rows, history.sums, history.counts = (state["history"][key] for key in ("rows", "sums", "counts"))
    say(f"[{name}] goes on from step {state['step']}")
    return int(state["step"])
