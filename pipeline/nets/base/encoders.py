"""Encoders as backbones, from torchvision or timm; dilation or omission of stages gives the stride asked for.

``resnet18|34|50|101`` come from torchvision, ``timm:<model>`` from timm (an extra). Both are imported inside functions:
the first costs three seconds, the second may be absent.
"""

import importlib
from collections import OrderedDict
from string import digits
from typing import Any, Literal

import torch
from torch import nn

from fewmask.core.errors import ConfigError
from fewmask.core.params import Section
from fewmask.nets.base.segnet import Backbone, measured, run_blocks
from fewmask.nets.base.weights import RESNETS, State, fill_resnet, fill_timm, timm_module, unknown_encoder

BOTTLENECKS = ("resnet50", "resnet101")
RESNET_STRIDES = (4, 4, 8, 16, 32)  # stem, layer1 .. layer4, before any dilation

# What timm and its encoders raise when asked for what they cannot do.
REFUSALS = (RuntimeError, TypeError, ValueError, AssertionError, AttributeError)


class EncoderConfig(Section):
    """The keys of every network that is built on an encoder."""

    encoder: str = "resnet50"  # resnet18|34|50|101, or timm:<model name>
    output_stride: Literal[8, 16, 32] = 16
    # Stages whose own stride exceeds output_stride: dilated (DeepLab), or left out (cheap enough for a CPU).
    deep_stages: Literal["dilate", "drop"] = "dilate"
    # Which residual network the bottlenecks of resnet50|101 make: torchvision's, or that of DeepLab's authors, whose
    # max-pool rounds up and whose stride is on the first 1x1. Tensors are the same: any weights load in either.
    layout: Literal["torchvision", "caffe"] = "torchvision"
    weights: str | None = None  # null: random; torchvision; lite0; or the path of a .pt or .safetensors file
    # The input's scale: what the weights were trained with (imagenet for a ResNet's file); ImageNet's mean and standard
    # deviation; or RGB in 0..255 less (122.68, 116.67, 104.01), which weights that come from Caffe expect.
    input: Literal["auto", "imagenet", "caffe"] = "auto"


def encoder_backbone(config: EncoderConfig, state: State | None = None) -> Backbone:
    """The encoder's stages, down to ``output_stride``, with their weights.

    Args:
        state: a ResNet's, where the caller has read the weights' file already.

    Raises:
        ConfigError: an encoder or weights that cannot be had, or that do not belong together.
        ArtefactError: a weights file that does not fit the encoder.
    """
    timm = config.encoder.startswith("timm:")
    if not timm and config.encoder not in RESNETS:
        raise ConfigError(unknown_encoder(config.encoder, RESNETS))
    if config.layout == "caffe" and config.encoder not in BOTTLENECKS:
        raise ConfigError(
            f"layout: found caffe with encoder {config.encoder}, expected {' or '.join(BOTTLENECKS)}, where a 1x1 can "
            "take the stride; change the encoder, or write 'layout: torchvision'."
        )
    blocks = _timm_blocks(config) if timm else _resnet_blocks(config, state)
    backbone = measured(blocks)
    if backbone.strides[-1] != config.output_stride:
        raise ConfigError(
            f"output_stride: found {config.output_stride}, expected {backbone.strides[-1]}, "
            f"where {config.encoder} ends; write that, or choose another encoder."
        )
    return backbone


def _resnet_blocks(config: EncoderConfig, state: State | None) -> list[nn.Module]:
    """Stem and four layers; the layers past ``output_stride`` dilated or dropped."""
    net = importlib.import_module("torchvision.models").get_model(config.encoder, weights=None)
    net.fc = nn.Identity()
    if config.weights is not None:
        fill_resnet(config, net, state)
    if config.layout == "caffe":
        _lay_out_as_caffe(net)
    stem = OrderedDict((name, net.get_submodule(name)) for name in ("conv1", "bn1", "relu", "maxpool"))
    blocks = [nn.Sequential(stem), net.layer1, net.layer2, net.layer3, net.layer4]
    shallow = sum(stride <= config.output_stride for stride in RESNET_STRIDES)
    if config.deep_stages == "drop":
        return blocks[:shallow]
    for depth, block in enumerate(blocks[shallow:], 1):
        dilate(block, 2**depth)
    return blocks


def _lay_out_as_caffe(net: Any) -> None:
    """Before any dilation: round the max-pool's size up, and move each bottleneck's stride from the 3x3 to the 1x1."""
    net.maxpool.ceil_mode = True
    for block in (*net.layer1, *net.layer2, *net.layer3, *net.layer4):
        block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride


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


def _timm_blocks(config: EncoderConfig) -> list[nn.Module]:
    """The stages of a timm encoder, cut out of its feature extractor and checked against it."""
    name = config.encoder.removeprefix("timm:")
    timm = timm_module(config.encoder)
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
        fill_timm(config, encoder, timm.create_model(name))
    parts = _cut(config.encoder, encoder)
    strides = encoder.feature_info.reduction()
    kept = [part for part, stride in zip(parts, strides, strict=True) if stride <= config.output_stride]
    return [block for part in kept for block in part]


def _cut(name: str, encoder: Any) -> list[list[nn.Module]]:
    """For each of the extractor's feature maps the blocks that lead to it, cut after every stage.

    timm has encoders that are no such row (HRNet's branches, transformers' tokens), so the blocks must give
    exactly what the extractor gives.
    """
    ends = [module.replace(".", "_") for module in encoder.feature_info.module_name()]
    parts: list[list[nn.Module]] = []
    part: list[nn.Module] = []
    block = OrderedDict[str, nn.Module]()
    for key, module in _flat(encoder, ends):
        block[key] = module
        if key in ends or _is_stage(key, module, ends):
            part.append(nn.Sequential(block))
            block = OrderedDict()
        if key in ends:
            parts.append(part)
            part = []
    if len(parts) != len(ends) or not _same(encoder, parts):
        raise ConfigError(
            f"encoder: {name} is no row of stages, expected one like timm:resnet50d or timm:convnext_atto; "
            "choose a plain convolutional encoder."
        )
    return parts


def _is_stage(key: str, module: nn.Module, ends: list[str]) -> bool:
    """Whether a row of units counts among those that end in a feature map, as blocks_3 beside blocks_2 and blocks_4."""
    return isinstance(module, nn.Sequential) and key.rstrip(digits) in {end.rstrip(digits) for end in ends}


def _flat(encoder: nn.Module, ends: list[str]) -> list[tuple[str, nn.Module]]:
    """Children in order; those that hold an end inside are replaced by their own children."""
    children: list[tuple[str, nn.Module]] = []
    for key, child in encoder.named_children():
        inner = [(f"{key}_{name}", module) for name, module in child.named_children()]
        holds_end = key not in ends and any(name in ends for name, _ in inner)
        children += inner if holds_end else [(key, child)]
    return children


def _same(encoder: Any, parts: list[list[nn.Module]]) -> bool:
    """Whether the parts, one after the other, give the extractor's maps, channels first."""
    x = torch.linspace(-1, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)
    encoder.eval()
    try:
        with torch.no_grad():
            wanted = encoder(x)
            found = run_blocks([nn.Sequential(*part) for part in parts], x)
        same = all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))
        channels = [y.shape[1] for y in found]
    except REFUSALS:
        return False
    encoder.train()
    return same and channels == encoder.feature_info.channels()
