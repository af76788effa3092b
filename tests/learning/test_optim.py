"""Parameter groups: every tensor once, the longest matching prefix wins, a prefix of nothing is refused."""

import pytest
from pydantic import ValidationError
from torch import nn

from pipeline.core.errors import ConfigError
from pipeline.learning.optim import OptimiserConfig, make_optimiser, set_rate


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
