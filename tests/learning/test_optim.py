"""Parameter groups: every tensor once, the longest matching prefix wins, a prefix of nothing is refused."""

import pytest
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
