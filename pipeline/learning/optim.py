"""Optimisers and rates as params describe them."""

from fnmatch import fnmatchcase
from typing import Literal, Self

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator
from torch import nn

from fewmask.core.errors import ConfigError
from fewmask.core.params import Section
from fewmask.learning.schedules import cosine_decay, polynomial_decay


class OptimiserConfig(Section):
    """``rates`` multiplies the learning rate of parameters whose name starts with a key, such as ``blocks.: 0.1``, of
    several the longest; ``*`` stands for any text, as in ``*gate.: 2.5``. ``decay_norms: false`` spares batch norms and
    biases the weight decay; ``clip`` is the norm to which a longer gradient of a player is cut.

    ``stop``: the training ends when this share of the schedule is done, as where authors publish an early checkpoint.
    """

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: PositiveFloat
    momentum: float = Field(default=0.9, ge=0, lt=1)  # beta 1 of Adam
    beta_2: float = Field(default=0.999, ge=0, lt=1)  # of Adam
    nesterov: bool = False  # of SGD
    weight_decay: NonNegativeFloat = 0.0
    decay_norms: bool = True
    clip: PositiveFloat | None = None
    schedule: Literal["poly", "cosine", "constant"] = "poly"
    power: PositiveFloat = 0.9  # of poly
    final: NonNegativeFloat = 0.0  # the rate at which cosine ends
    stop: float = Field(default=1, gt=0, le=1)
    rates: dict[str, PositiveFloat] = Field(default={})

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov is a kind of momentum, and momentum is 0; raise it, or leave nesterov out")
        return self

    def rate(self, t: float) -> float:
        """Learning rate when the share ``t`` (0..1) of training is done.

        Of the schedule s = stop t is done; poly is lr (1 - s)^power, cosine final + (lr - final) (1 + cos(pi s)) / 2.
        """
        done = self.stop * t
        if self.schedule == "cosine":
            return self.final + (self.lr - self.final) * cosine_decay(done)
        return self.lr if self.schedule == "constant" else self.lr * polynomial_decay(done, self.power)


def make_optimiser(module: nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """One optimiser over the trainable parameters, each listed once, in groups of equal rate and weight decay.

    Raises:
        ConfigError: a key of ``rates`` is the beginning of no parameter's name.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    unused = set(config.rates)
    for name, parameter in module.named_parameters():
        keys = [key for key in config.rates if fnmatchcase(name, f"{key}*")]
        unused -= set(keys)
        factor = config.rates[max(keys, key=len)] if keys else 1.0
        decay = config.weight_decay if config.decay_norms or parameter.ndim > 1 else 0.0
        if parameter.requires_grad:
            groups.setdefault((factor, decay), []).append(parameter)
    if unused:
        names = sorted({name.split(".")[0] + "." for name, _ in module.named_parameters()})
        raise ConfigError(f"optimiser.rates: no parameter begins with {sorted(unused)}; expected such as {names}.")
    listed = [{"params": params, "factor": factor, "weight_decay": decay} for (factor, decay), params in groups.items()]
    if config.name == "sgd":
        return torch.optim.SGD(listed, config.lr, momentum=config.momentum, nesterov=config.nesterov, fused=True)
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(listed, config.lr, betas=(config.momentum, config.beta_2), fused=True)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its rate for this step."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["factor"]
