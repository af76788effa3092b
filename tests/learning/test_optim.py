"""Parameter groups: every tensor once, the longest matching prefix wins, a prefix of nothing is refused."""

import pytest
from pydantic import ValidationError
from torch import nn

from fewmask.core.errors import ConfigError
from fewmask.learning.optim import OptimiserConfig, make_optimiser, set_rate


def net() -> nn.Module:
    module = nn.Module()
    module.blocks, module.head = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), nn.Linear(2, 1)
    return module


def test_groups_and_rates():
    config = OptimiserConfig(lr=0.1, rates={"blocks.": 0.1, "blocks.1.": 0.5})
    optimiser = make_optimiser(net(), config)
    set_rate(optimiser, 0.2)
    found = {round(group["lr"], 6): len(group["params"]) for group in optimiser.param_groups}
    assert found == {0.02: 2, 0.1: 2, 0.2: 2}


class Normed(nn.Module):
    """Two cells, each with a gate, a convolution and a batch norm; and a head."""

    def __init__(self):
        super().__init__()
        self.cells = nn.ModuleList(
            nn.ModuleDict({"gate": nn.Linear(2, 2), "op": nn.Conv2d(2, 2, 1, bias=False), "norm": nn.BatchNorm2d(2)})
            for _ in range(2)
        )
        self.head = nn.Linear(2, 1)


def settings(module: nn.Module, config: OptimiserConfig) -> dict[str, tuple[float, float]]:
    """Rate and weight decay of each parameter, by name."""
    optimiser = make_optimiser(module, config)
    set_rate(optimiser, 1.0)
    groups = {id(p): (group["lr"], group["weight_decay"]) for group in optimiser.param_groups for p in group["params"]}
    return {name: groups[id(p)] for name, p in module.named_parameters()}


def test_a_star_in_a_key_is_any_text():
    found = settings(Normed(), OptimiserConfig(lr=0.1, rates={"*.gate.": 2.5, "cells.1.": 0.5, "cells.1.gate.": 4}))
    assert {name: rate for name, (rate, _) in found.items() if rate != 1} == {
        "cells.0.gate.weight": 2.5,
        "cells.0.gate.bias": 2.5,
        "cells.1.gate.weight": 4,  # the longest key
        "cells.1.gate.bias": 4,
        "cells.1.op.weight": 0.5,
        "cells.1.norm.weight": 0.5,
        "cells.1.norm.bias": 0.5,
    }


def test_a_star_does_not_stand_for_what_is_not_written():
    """A key is the beginning of a name, unless it begins with a star."""
    with pytest.raises(ConfigError, match=r"no parameter begins with \['gate.'\]"):
        make_optimiser(Normed(), OptimiserConfig(lr=0.1, rates={"gate.": 2.5}))
    with pytest.raises(ConfigError, match=r"no parameter begins with \['\*.gates.'\]"):
        make_optimiser(Normed(), OptimiserConfig(lr=0.1, rates={"*.gates.": 2.5, "head.": 1}))


def test_norms_and_biases_may_be_spared_the_weight_decay():
    config = OptimiserConfig(lr=0.1, weight_decay=0.01, decay_norms=False)
    decayed = {name for name, (_, decay) in settings(Normed(), config).items() if decay == 0.01}
    weights = {f"cells.{number}.{part}.weight" for number in range(2) for part in ("gate", "op")}
    assert decayed == weights | {"head.weight"}
    every = settings(Normed(), config.model_copy(update={"decay_norms": True}))
    assert {decay for _, decay in every.values()} == {0.01}


def test_rates_and_weight_decay_are_told_apart_together():
    """Groups: a rate each for gates and the rest, in each of them weights and what is spared; nothing twice."""
    config = OptimiserConfig(lr=0.1, rates={"*.gate.": 2.5}, weight_decay=0.01, decay_norms=False)
    found = settings(Normed(), config)
    assert found["cells.0.gate.weight"] == (2.5, 0.01)
    assert found["cells.0.gate.bias"] == (2.5, 0)
    assert found["cells.0.norm.weight"] == (1, 0)
    assert found["cells.0.op.weight"] == (1, 0.01)
    groups = make_optimiser(Normed(), config).param_groups
    assert [len(group["params"]) for group in groups] == [2, 2, 3, 5]


def test_shared_and_frozen_tensors_are_listed_once_or_not_at_all():
    module = net()
    module.again = module.head
    module.blocks[0].requires_grad_(False)
    listed = [p for group in make_optimiser(module, OptimiserConfig(lr=0.1)).param_groups for p in group["params"]]
    assert len(listed) == len({id(p) for p in listed}) == 4


def test_a_prefix_of_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"no parameter begins with \['encoder.'\]"):
        make_optimiser(net(), OptimiserConfig(lr=0.1, rates={"encoder.": 0.1}))


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_every_name_makes_its_optimiser(name):
    kind = type(make_optimiser(net(), OptimiserConfig(name=name, lr=0.1))).__name__
    assert kind.lower() == name


def test_schedules_by_hand():
    """Half way: 0.1 * 0.5 ** 0.9; the middle between 0.1 and 0.02; of three quarters of a schedule 3/8 are done."""
    assert OptimiserConfig(lr=0.1).rate(0.5) == pytest.approx(0.05359, rel=1e-4)
    assert OptimiserConfig(lr=0.1, schedule="cosine", final=0.02).rate(0.5) == pytest.approx(0.06)
    assert OptimiserConfig(lr=0.1, schedule="cosine", final=0.02).rate(1.0) == pytest.approx(0.02)
    assert OptimiserConfig(lr=0.1, schedule="constant", stop=0.5).rate(0.9) == 0.1
    early = OptimiserConfig(lr=0.1, stop=0.75)
    assert early.rate(0.5) == pytest.approx(0.1 * 0.625**0.9)
    assert early.rate(1.0) == pytest.approx(0.1 * 0.25**0.9)


def test_options_reach_the_optimiser():
    sgd = make_optimiser(net(), OptimiserConfig(lr=0.1, nesterov=True))
    assert (sgd.defaults["nesterov"], sgd.defaults["momentum"]) == (True, 0.9)
    assert make_optimiser(net(), OptimiserConfig(name="adam", lr=0.1, beta_2=0.99)).defaults["betas"] == (0.9, 0.99)


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(ValidationError, match="nesterov is a kind of momentum, and momentum is 0"):
        OptimiserConfig(lr=0.1, momentum=0, nesterov=True)
