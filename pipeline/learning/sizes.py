"""Whether layers are given enough to work on, asked before they run: PyTorch's own errors name no key of params."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from fewmask.core.errors import ConfigError
from fewmask.learning.batchnorm import BATCH_NORMS

WINDOWED = (nn.Conv2d, nn.AvgPool2d, nn.MaxPool2d)  # these themselves: heirs, such as timm's, may pad their input


@contextmanager
def sizes_checked(net: nn.Module) -> Iterator[None]:
    """Inside the block each batch norm, convolution and pooling layer of ``net`` asks whether its input will do.

    Raises:
        ConfigError: batch norm would see one value a channel, or a window reaches beyond the map and its padding.
    """
    norms = [module for module in net.modules() if isinstance(module, BATCH_NORMS)]
    windowed = [module for module in net.modules() if type(module) in WINDOWED]
    hooks = [norm.register_forward_pre_hook(_require_values) for norm in norms]
    hooks += [layer.register_forward_pre_hook(_require_room) for layer in windowed]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _require_values(norm: Any, inputs: tuple[Any, ...]) -> None:
    x = inputs[0]
    if (norm.training or norm.running_mean is None) and x.numel() == x.shape[1]:
        raise ConfigError(
            f"batch: too small for batch norm at this image size: found a map {list(x.shape)}, one value a channel; "
            "expected at least two. Raise batch, views.crop, size or dataset.size."
        )


def _require_room(layer: Any, inputs: tuple[Any, ...]) -> None:
    sides = inputs[0].shape[-2:]
    if not isinstance(layer.padding, str) and min(_output_sides(layer, sides)) < 1:
        raise ConfigError(
            "views.crop, size or dataset.size: what this network sees is too small for it: found a map of "
            f"{list(sides)} pixels for a window of {list(_pair(layer.kernel_size))}. Raise the size."
        )


def _output_sides(layer: Any, sides: tuple[int, ...]) -> list[int]:
    """Height and width of the layer's output; below 1 where its window does not fit."""
    names = ("kernel_size", "stride", "padding", "dilation")
    numbers = zip(sides, *(_pair(getattr(layer, name, 1)) for name in names), strict=True)
    rounded_up = getattr(layer, "ceil_mode", False)
    return [
        (side + 2 * padding - dilation * (kernel - 1) - 1 + rounded_up * (stride - 1)) // stride + 1
        for side, kernel, stride, padding, dilation in numbers
    ]


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
