"""A published model: one safetensors file that holds all that prediction needs.

Its header (JSON strings) holds network, classes, colours, normalisation and input size. It also holds a digest of the
tensors, because the format itself verifies nothing.
"""

import hashlib
import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from fewmask.core.errors import ArtefactError, ConfigError, did_you_mean
from fewmask.core.params import Section

FORMAT, VERSION = "fewmask-model", 1
REMAKE = "Run 'dvc repro' to make it again."


@dataclass(frozen=True)
class Header:
    """What a model file holds beside the weights."""

    network: dict[str, Any]
    class_names: list[str]
    colours: list[list[int]]
    mean: list[float]
    std: list[float]
    size: list[int]  # height, width
    params: dict[str, Any]
    provenance: dict[str, Any]
    padded: bool = False  # images were padded to the size, not stretched


@dataclass(frozen=True)
class Model:
    """A network read back, in evaluation mode, with its header and the digest of its weights."""

    net: nn.Module
    header: Header
    digest: str


PIPELINE = Path(__file__).resolve().parents[2]


def network_files() -> dict[str, Path]:
    """Name -> file of every network: nets/<name>/<name>.py; a method's, which segment no image; fusion/fused.py."""
    files = [path for place in ("nets/*", "methods/*", "fusion") for path in PIPELINE.glob(f"{place}/*.py")]
    return {path.stem: path for path in sorted(files) if {"class Config(", "def build("} <= _openings(path)}


def _openings(path: Path) -> set[str]:
    """The beginnings of a file's top-level definitions."""
    lines = path.read_text().splitlines()
    return {line.partition("(")[0] + "(" for line in lines if line.startswith(("class ", "def "))}


def network_module(name: str, key: str = "network") -> Any:
    """The module of a network, where ``key`` of params.yaml names it.

    Raises:
        ConfigError: there is none of that name.
    """
    known = network_files()
    if name not in known:
        chosen = [other for other, path in known.items() if path.is_relative_to(PIPELINE / "nets")]
        hint = did_you_mean(name, chosen) or "."
        raise ConfigError(f"{key}.name: found {name!r}; expected one of {', '.join(chosen)}{hint}")
    return importlib.import_module(".".join(["fewmask", *known[name].relative_to(PIPELINE).with_suffix("").parts]))


def segmentation_module(name: str, key: str = "network") -> Any:
    """The module of a network that segments images: one that knows its input normalisation.

    Raises:
        ConfigError: there is none of that name.
    """
    module = network_module(name, key)
    if not hasattr(module, "normalisation"):
        found = f"{key}.name: '{name}' does not segment images by itself"
        raise ConfigError(f"{found}; expected such as dsnet or deeplabv3plus.")
    return module


def build(network: Section, classes: int) -> nn.Module:
    """A new network of a validated ``network`` section (its pretrained weights loaded, where it names any)."""
    module: nn.Module = network_module(network.name).build(network, classes)  # type: ignore[attr-defined]
    return module


def require_model_name(out: Path) -> None:
    """Refuse to write a model under a name by which nobody would know it.

    Raises:
        ConfigError: with the name.
    """
    if out.suffix != ".safetensors":
        raise ConfigError(f"--out: found {out}; expected a name that ends in .safetensors. Rename it.")


def save_model(path: Path, net: nn.Module, header: Header) -> str:
    """Write ``net`` and ``header`` to ``path`` (in place: give it a temporary name); return the weights' digest."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    digest = _digest(tensors)
    fields = {name: json.dumps(value, sort_keys=True) for name, value in vars(header).items()}
    metadata = {"format": FORMAT, "version": str(VERSION), "digest": digest, **fields}
    metadata["seal"] = _seal(metadata)
    path.write_bytes(_ordered(save(tensors, metadata)))
    return digest


def load_model(path: Path, device: torch.device | str = "cpu") -> Model:
    """Read a model file, verify it and rebuild its network.

    Raises:
        ArtefactError: missing, damaged, of another format, or not of the network it names.
    """
    if not path.is_file():
        raise ArtefactError(f"{path}: no such model file. Run 'dvc repro', or fix the path.")
    metadata, tensors = _read(path)
    if metadata.get("format") != FORMAT or metadata.get("version") != str(VERSION):
        raise ArtefactError(f"{path}: not a fewmask model of version {VERSION}. {REMAKE}")
    if _digest(tensors) != metadata.get("digest") or _seal(metadata) != metadata.get("seal"):
        raise ArtefactError(f"{path}: damaged: its weights or header do not match their digest. {REMAKE}")
    try:
        fields = Header.__dataclass_fields__.keys() & metadata.keys()
        header = Header(**{name: json.loads(metadata[name]) for name in fields})
        section = network_module(header.network["name"]).Config.model_validate(header.network)
        net = build(section, len(header.class_names))
        net.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, ValidationError, RuntimeError, ConfigError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ArtefactError(f"{path}: its header and weights do not fit this program ({reason}). {REMAKE}") from error
    net = net.to(device).to(memory_format=torch.channels_last).eval()
    return Model(net, header, metadata["digest"])


def check_kind(path: Path, model: Model, kind: type | str, expected: str) -> None:
    """Refuse a file that holds another kind of network than a class, or than the one of a name.

    Raises:
        ArtefactError: with what it holds.
    """
    name = model.header.network["name"]
    if not (name == kind if isinstance(kind, str) else isinstance(model.net, kind)):
        found = f"holds the network '{name}'"
        raise ArtefactError(f"{path}: {found}; expected {expected}. Name that file instead.")


def _seal(metadata: dict[str, str]) -> str:
    """Digest of the whole header but itself."""
    kept = {name: value for name, value in metadata.items() if name != "seal"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _ordered(data: bytes) -> bytes:
    """The same safetensors file with its header's keys sorted: the library writes them in random order."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[end:]


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ArtefactError(f"{path}: damaged or not a safetensors file ({reason}). {REMAKE}") from error


def _digest(tensors: dict[str, Tensor]) -> str:
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
