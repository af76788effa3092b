"""The loop: order of events, stop and resume, the finite check, rates."""

import os
import signal

import pytest
import torch
from torch import nn

from fewmask.core.errors import ConfigError, NonFiniteError
from fewmask.core.stage import Stopped
from fewmask.learning.config import FitConfig
from fewmask.learning.fit import History, fit
from fewmask.learning.learner import Batch, Learner, Update
from fewmask.nets.base.segnet import SegNet


def config(steps: int, **optimiser) -> FitConfig:
    rates = {"name": "sgd", "lr": 0.1, "momentum": 0.0, "schedule": "constant", **optimiser}
    return FitConfig.model_validate({"steps": steps, "batch": 1, "optimiser": rates})


def batches(step: int) -> Batch:
    x = torch.full((1, 3, 2, 2), float(step))
    return Batch(x, torch.zeros(1, 2, 2, dtype=torch.long), x[:0])


class Two(Learner):
    """Two players; what follows a yield notes what it sees."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.a.weight), nn.init.ones_(self.b.weight)
        self.seen = []
        self.register_buffer("noise", torch.zeros(()))

    def players(self):
        return {"a": self.a, "b": self.b}

    def step(self, batch, t):
        self.noise += torch.rand(())
        yield Update("a", (self.a.weight * self.b.weight).sum(), {"product": self.a.weight.detach().sum()})
        self.seen.append((self.a.weight.item(), self.b.weight.item()))
        yield Update("b", (self.b.weight * 2).sum())
        self.seen.append((self.a.weight.item(), self.b.weight.item()))


def test_what_follows_a_yield_sees_the_stepped_weights(tmp_path):
    """lr 0.1: a falls by 0.1 * b = 0.1; b then falls by 0.1 * 2 = 0.2, and not by the gradient of the first loss."""
    learner = Two()
    fit(learner, batches, config(1), seed=0, folder=tmp_path)
    assert learner.seen == [pytest.approx((0.9, 1.0)), pytest.approx((0.9, 0.8))]


def test_a_loss_gives_other_players_no_gradient(tmp_path):
    learner, found = Two(), []
    whole = learner.step

    def step(batch, t):
        updates = whole(batch, t)
        yield next(updates)
        found.append((learner.a.weight.grad is not None, learner.b.weight.grad is None))
        yield from updates

    learner.step = step
    fit(learner, batches, config(1), seed=0, folder=tmp_path)
    assert found == [(True, True)]


class Own(FitConfig):
    """The second player learns ten times as fast."""

    def optimiser_of(self, player):
        return self.optimiser.model_copy(update={"lr": 1.0}) if player == "b" else self.optimiser


def test_players_have_optimisers_of_their_own_and_one_row_a_step(tmp_path):
    """b falls by 1.0 * 2; of the row the loss is the first player's."""
    learner, own = Two(), Own.model_validate(config(1).model_dump())
    rows = fit(learner, batches, own, seed=0, folder=tmp_path)
    assert learner.seen[-1] == pytest.approx((0.9, -1.0))
    assert rows == [{"step": 1, "rate": pytest.approx(0.1), "loss": 1.0, "product": 1.0}]


def test_random_numbers_depend_on_seed_and_step_alone(tmp_path):
    noises = []
    for number, seed in enumerate((3, 3, 4)):
        torch.manual_seed(number)
        learner = Two()
        fit(learner, batches, config(4), seed=seed, folder=tmp_path / str(number))
        noises.append(learner.noise.item())
    assert noises[0] == noises[1] != noises[2]


class Stopping(Two):
    """Sends itself a signal in the middle of a step."""

    stop_at = -1

    def step(self, batch, t):
        if batch.x_l.flatten()[0].item() == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        yield from super().step(batch, t)


@pytest.mark.parametrize("stop_at", [0, 3, 6])
def test_stopped_and_run_again_ends_in_the_same_bits(tmp_path, stop_at):
    whole = Two()
    rows = fit(whole, batches, config(7, momentum=0.9), seed=0, folder=tmp_path / "whole")
    stopped = Stopping()
    stopped.stop_at = stop_at
    with pytest.raises(Stopped):
        fit(stopped, batches, config(7, momentum=0.9), seed=0, folder=tmp_path / "stopped")
    again = Two()
    again_rows = fit(again, batches, config(7, momentum=0.9), seed=0, folder=tmp_path / "stopped")
    assert all(torch.equal(again.state_dict()[name], value) for name, value in whole.state_dict().items())
    assert again_rows == rows


@pytest.mark.parametrize("key", ["learner", "optimisers", "history", "step"])
def test_every_part_of_a_checkpoint_matters(tmp_path, key):
    """Leaving out any saved part changes the outcome: nothing is saved for show."""
    from fewmask.learning import checkpoint

    def outcome(folder):
        learner = Two()
        rows = fit(learner, batches, config(7, momentum=0.9), seed=0, folder=folder)
        return rows, [value.item() for value in learner.state_dict().values()]

    whole = outcome(tmp_path / "whole")
    stopped = Stopping()
    stopped.stop_at = 3
    with pytest.raises(Stopped):
        fit(stopped, batches, config(7, momentum=0.9), seed=0, folder=tmp_path / "part")
    state = checkpoint.load_newest(tmp_path / "part")
    fresh = Two()
    state[key] = {
        "learner": fresh.state_dict(),
        "optimisers": {name: {**state["optimisers"][name], "state": {}} for name in ("a", "b")},
        "history": {"rows": [], "sums": {}, "counts": {}},
        "step": 0,
    }[key]
    for old in (tmp_path / "part").iterdir():
        old.unlink()
    checkpoint.save(tmp_path / "part", 4, state)
    assert outcome(tmp_path / "part") != whole


class Exploding(Two):
    def step(self, batch, t):
        factor = float("nan") if batch.x_l.flatten()[0].item() == 2 else 1.0
        yield Update("a", (self.a.weight * factor).sum(), {"term": torch.tensor(factor)})


def test_a_loss_that_is_not_finite_stops_before_the_update(tmp_path):
    learner = Exploding()
    with pytest.raises(NonFiniteError, match=r"step 2: a is not finite \(loss nan, term nan"):
        fit(learner, batches, config(5), seed=0, folder=tmp_path)
    assert learner.a.weight.item() == pytest.approx(1 - 2 * 0.1)


class Diverging(Two):
    def step(self, batch, t):
        yield Update("a", (self.a.weight.clamp_min(0) * 0).sqrt().sum())  # finite value, infinite gradient


def test_a_gradient_that_is_not_finite_stops_too(tmp_path):
    with pytest.raises(NonFiniteError, match="gradient norm"):
        fit(Diverging(), batches, config(1), seed=0, folder=tmp_path)


def test_poly_rate_reaches_the_optimiser(tmp_path):
    """lr (1 - t)^0.9 at t = 0, 1/2: b falls by 2 (0.1 + 0.1 * 0.5^0.9)."""
    learner = Two()
    fit(learner, batches, config(2, schedule="poly"), seed=0, folder=tmp_path)
    assert learner.b.weight.item() == pytest.approx(1 - 2 * 0.1 * (1 + 0.5**0.9))


class Sloped(Two):
    """Gradients (3, 4) for a and 2 for b."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(2, 1, bias=False)
        nn.init.zeros_(self.a.weight)

    def step(self, batch, t):
        yield Update("a", (self.a.weight * torch.tensor([3.0, 4])).sum())
        yield Update("b", (self.b.weight * 2).sum())


@pytest.mark.parametrize(
    ("clip", "a", "b"), [(2.5, (1.5, 2), 2), (1.0, (0.6, 0.8), 1), (5.5, (3, 4), 2), (None, (3, 4), 2)]
)
def test_a_longer_gradient_is_cut_and_a_shorter_one_left(tmp_path, clip, a, b):
    """Of each player by itself: lengths 5 and 2."""
    learner = Sloped()
    fit(learner, batches, config(1, clip=clip), seed=0, folder=tmp_path)
    assert (-10 * learner.a.weight[0]).tolist() == pytest.approx(a, rel=1e-5)
    assert 10 * (1 - learner.b.weight.item()) == pytest.approx(b, rel=1e-5)


def test_history_is_means_over_equal_parts():
    history = History(steps=200)
    for step in range(1, 5):
        history.add(step, 0.1, {"loss": float(step)})
    assert history.rows == [{"step": 2, "rate": 0.1, "loss": 1.5}, {"step": 4, "rate": 0.1, "loss": 3.5}]


def test_the_last_two_checkpoints_are_kept(tmp_path):
    fit(Two(), batches, config(6), seed=0, folder=tmp_path, checkpoint_seconds=1e-9)
    assert sorted(path.name for path in tmp_path.glob("*.pt")) == ["step-00000005.pt", "step-00000006.pt"]


class Normed(Learner):
    """A network with batch norm in its backbone and in its head."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        row = nn.ModuleList([nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))])
        self.net = SegNet(row, Head())

    def players(self):
        return {"net": self.net}

    def step(self, batch, t):
        yield Update("net", self.net(torch.randn(2, 3, 4, 4) + 3).square().mean())


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))

    def forward(self, features):
        return self.layers(features[-1])


@pytest.mark.parametrize(
    ("mode", "statistics", "affine"), [("trained", True, True), ("statistics", True, False), ("frozen", False, False)]
)
@pytest.mark.parametrize("stopped", [False, True])
def test_batch_norm_of_the_row_is_trained_or_frozen_as_asked_and_the_head_s_always_trained(
    tmp_path, mode, statistics, affine, stopped
):
    """Also after a training was stopped and goes on."""
    chosen = config(4).model_copy(update={"batch_norm": mode})
    if stopped:

        def stumble(step):
            if step == 2:
                raise KeyboardInterrupt
            return batches(step)

        with pytest.raises(KeyboardInterrupt):
            fit(Normed(), stumble, chosen, seed=0, folder=tmp_path, checkpoint_seconds=0)
    learner = Normed()
    fit(learner, batches, chosen, seed=0, folder=tmp_path)
    row, head = learner.net.blocks[0][1], learner.net.head.layers[0]
    assert bool(row.running_mean.abs().sum() > 0) == statistics
    assert bool((row.weight != 1).any()) == affine
    assert head.running_mean.abs().sum() > 0
    assert (head.weight != 1).any()


class Small(Normed):
    """Sees maps of one pixel, as many as it is told."""

    count, pooled = 2, False

    def __init__(self):
        super().__init__()
        self.pool = nn.AvgPool2d(2)

    def step(self, batch, t):
        logits = self.net(torch.randn(self.count, 3, 1, 1))
        yield Update("net", (self.pool(logits) if self.pooled else logits).mean())


@pytest.mark.parametrize(
    ("count", "pooled", "told"),
    [
        (2, True, r"views.crop, size or dataset.size: what this network sees is too small .* \[1, 1\] .* \[2, 2\]"),
        (1, False, r"batch: too small for batch norm at this image size: found a map \[1, 4, 1, 1\]"),
    ],
)
def test_a_view_or_a_batch_too_small_for_the_network_is_a_sentence(tmp_path, count, pooled, told):
    learner = Small()
    learner.count, learner.pooled = count, pooled
    with pytest.raises(ConfigError, match=told):
        fit(learner, batches, config(1), seed=0, folder=tmp_path)
