"""Optimisers and rates as params describe them."""

from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import nn

from pipeline.core.errors import ConfigError
from pipeline.core.params import Section


class OptimiserConfig(Section):
    """``rates`` multiplies the learning rate of parameters whose name starts with a key, such as ``blocks.: 0.1``."""

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: PositiveFloat
    momentum: float = Field(default=0.9, ge=0, lt=1)  # beta 1 of Adam
    weight_decay: NonNegativeFloat = 0.0
    schedule: Literal["poly", "constant"] = "poly"
    power: PositiveFloat = 0.9
    rates: dict[str, PositiveFloat] = Field(default={})

    def rate(self, t: float) -> float:
        """Learning rate when the share ``t`` (0..1) of training is done: poly is lr (1 - t)^power."""
        return self.lr if self.schedule == "constant" else self.lr * (1 - t) ** self.power


def make_optimiser(module: nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """One optimiser over the trainable parameters, each listed once, in groups of equal rate.

    Raises:
        ConfigError: a key of ``rates`` is the beginning of no parameter's name.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    unused = set(config.rates)
    for name, parameter in module.named_parameters():
        keys = [key for key in config.rates if name.startswith(key)]
        unused -= set(keys)
        factor = config.rates[max(keys, key=len)] if keys else 1.0
        if parameter.requires_grad:
            groups.setdefault(factor, []).append(parameter)
    if unused:
        names = sorted({name.split(".")[0] + "." for name, _ in module.named_parameters()})
        raise ConfigError(f"optimiser.rates: no parameter begins with {sorted(unused)}; expected such as {names}.")
    listed = [{"params": params, "factor": factor} for factor, params in groups.items()]
    if config.name == "sgd":
        return torch.optim.SGD(
            listed, config.lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=True
        )
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(listed, config.lr, betas=(config.momentum, 0.999), weight_decay=config.weight_decay, fused=True)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its rate for this step."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["factor"]
