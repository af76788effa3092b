"""What a training is made from, read from params and an earlier model, and what is written about it."""

import copy
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
import torch

from fewmask.core.errors import ArtefactError, ConfigError
from fewmask.core.stage import Run
from fewmask.learning.batchnorm import require_sense
from fewmask.learning.config import BeginningConfig, FitConfig
from fewmask.learning.learner import Learner, Task
from fewmask.nets.base.normalise import Normalise
from fewmask.nets.base.published import (
    Header,
    Model,
    build,
    check_kind,
    load_model,
    network_module,
    segmentation_module,
)
from fewmask.nets.base.segnet import SegNet
from fewmask.stores.images import Images

C = TypeVar("C", bound=FitConfig)


def learner_class(name: str) -> type[Learner]:
    """``s4gan.S4GAN`` -> that class of pipeline/methods/s4gan/s4gan.py.

    Raises:
        ConfigError: there is no such learner.
    """
    module, _, kind = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(f"fewmask.methods.{module}.{module}"), kind)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"--learner: found '{name}'; expected such as supervised.Supervised.") from error
    if not (isinstance(found, type) and issubclass(found, Learner)):
        raise ConfigError(f"--learner: '{name}' is no Learner; expected a class of pipeline/methods.")
    return found


def require_tags(kind: type[Learner], given: bool) -> None:
    """Refuse a stage that gives tags to a learner that has no use for them, or none to one that learns from them.

    Raises:
        ConfigError: with the flag to add to dvc.yaml, or to remove.
    """
    if kind.tagged and not given:
        raise ConfigError(f"--tags: missing in dvc.yaml; {kind.__name__} learns which classes images show. Add it.")
    if given and not kind.tagged:
        raise ConfigError(f"--tags: found with {kind.__name__}, which learns from masks alone. Remove it in dvc.yaml.")


def begins_supervised(config: FitConfig) -> bool:
    """Whether networks begin with the weights of the supervised one, not with those that their section names."""
    return isinstance(config, BeginningConfig) and config.begin_with == "supervised"


def require_start(config: FitConfig, given: bool) -> None:
    """Refuse to begin with the supervised network where dvc.yaml names no model.

    Raises:
        ConfigError: with what to write.
    """
    if begins_supervised(config) and not given:
        raise ConfigError(
            "begin_with: found supervised, but the stage is given no --start in dvc.yaml; write 'begin_with: weights'."
        )


def require_same_network(network: dict[str, Any], other: dict[str, Any], where: str) -> None:
    """Refuse to begin the network of a plain section with the weights of another; their own first weights may differ.

    Raises:
        ArtefactError: ``where`` the other is from, and the keys that differ.
    """
    wanted, found = {**network, "weights": None}, {**other, "weights": None}
    keys = sorted(key for key in wanted | found if found.get(key) != wanted.get(key))
    if keys:
        keys = ["name"] if "name" in keys else keys
        has, expected = (", ".join(f"{key} {section.get(key)}" for key in keys) for section in (found, wanted))
        raise ArtefactError(
            f"{where} has {has}; expected {expected}, as in params. Write 'begin_with: weights', or make both networks "
            "alike and run 'dvc repro'."
        )


def require_use(config: FitConfig, keys: type[C], option: str) -> C:
    """``config``, if it has the keys that go with an option of the stage.

    Raises:
        ConfigError: the method has no use for the option.
    """
    if not isinstance(config, keys):
        method = type(config).__module__.rpartition(".")[2]
        raise ConfigError(f"{option}: found with {method}, which has no use for it. Remove it in dvc.yaml.")
    return config


@dataclass(frozen=True)
class Recipe:
    """The validated config, the task and the input's scale (for the model's header) of one training."""

    config: FitConfig
    task: Task
    mean: list[float]
    std: list[float]
    base_digest: str | None

    @classmethod
    def read(
        cls,
        run: Run,
        schema: type[FitConfig],
        sections: Sequence[str],
        base: Path | None,
        images: Images,
        start: Path | None,
        device: torch.device,
        network_key: str = "network",
    ) -> "Recipe":
        """
        Args:
            network_key: the section of the network, where there is no base.
            base: a model the learner builds on, with that model's network.
            start: a model whose weights networks begin with, where params say ``begin_with: supervised``.

        Raises:
            ArtefactError: a model is missing, damaged or of other classes; or ``start`` is of another network.
            ConfigError: ``begin_with`` wants a model and there is none, or a section is wrong.
        """
        config = run.merged(sections, schema)
        names = images.class_names
        if base is not None:
            return cls._on(base, config, names, device)
        raw: dict[str, Any] = run.section(network_key, dict[str, Any])
        module = segmentation_module(str(raw.get("name")), network_key)
        network = run.section(network_key, module.Config)
        mean, std = module.normalisation(network)
        normalise, plain = Normalise(mean, std, device), network.model_dump(mode="json")
        require_start(config, start is not None)
        if begins_supervised(config) and start is not None:
            model = load_start(start, names, plain)
            task = Task(names, plain, lambda: fresh_copy(model.net), normalise)
            return cls(config, task, list(mean), list(std), model.digest)
        require_sense(network, config.batch_norm, network_key)
        task = Task(names, plain, lambda: build(network, len(names)), normalise)
        return cls(config, task, list(mean), list(std), None)

    @classmethod
    def _on(cls, base: Path, config: FitConfig, names: list[str], device: torch.device) -> "Recipe":
        """The recipe of a learner that builds on a model."""
        model = load_of_classes(base, names)
        check_kind(base, model, SegNet, "a segmentation model, such as models/supervised.safetensors")
        header = model.header
        normalise = Normalise(tuple(header.mean), tuple(header.std), device)
        task = Task(names, header.network, lambda: build_from(header.network, len(names)), normalise, model.net)
        return cls(config, task, header.mean, header.std, model.digest)

    def header(self, network: dict[str, Any], images: Images, run: Run, device: torch.device) -> Header:
        """The header of the published model; nothing in it depends on the time, the host or the folder."""
        provenance = {
            "fingerprint": run.fingerprint,
            "base": self.base_digest,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "h5py": h5py.__version__,
            "threads": torch.get_num_threads(),
            "device": device.type,
        }
        settings = {key: run.params.raw(key) for key in run.keys}
        published = {**network, "weights": None} if "weights" in network else network
        names, colours, size = images.class_names, images.colours, [int(side) for side in images.size]
        return Header(published, names, colours, self.mean, self.std, size, settings, provenance, images.padded)


def load_of_classes(path: Path, names: list[str]) -> Model:
    """A model of the classes ``names``; errors as ``load_model``, and an ArtefactError for other classes."""
    model = load_model(path)
    if model.header.class_names != names:
        found = f"knows the classes {model.header.class_names}; the images have {names}"
        raise ArtefactError(f"{path}: {found}. Run 'dvc repro' to train it on this data set.")
    return model


def load_start(path: Path, names: list[str], network: dict[str, Any]) -> Model:
    """The model whose weights a network of the section ``network`` begins with."""
    model = load_of_classes(path, names)
    require_same_network(network, model.header.network, f"{path}: its network")
    return model


def fresh_copy(net: torch.nn.Module) -> torch.nn.Module:
    """A copy to train."""
    return copy.deepcopy(net).train().requires_grad_(True)


def build_from(network: dict[str, Any], classes: int) -> torch.nn.Module:
    """A new network of a plain ``network`` section."""
    return build(network_module(network["name"]).Config.model_validate(network), classes)
