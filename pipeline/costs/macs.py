"""What a network costs, by one counter for all of them: PyTorch's own, on a network of no memory.

A cost is in multiply-accumulates of convolutions and linear layers. Of a routing network it is that of an image that
finds every gate open; route_cost.py has the cost of the others.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fewmask.nets.base.segnet import inference_mode_of

ELEMENTWISE = {  # operations on each number, which the authors of dynamic routing count, too
    torch.ops.aten._native_batch_norm_legit_no_training: 2,
    torch.ops.aten.relu: 1,
    torch.ops.aten.relu_: 1,
    torch.ops.aten.mean: 1,
}


def parameters(net: nn.Module) -> int:
    """Number of trainable and frozen parameters."""
    return sum(parameter.numel() for parameter in net.parameters())


def gmacs(net: nn.Module, size: tuple[int, int]) -> float:
    """10^9 multiply-accumulates of one image of ``size`` (H, W)."""
    return macs(net, size)[""] / 1e9


@torch.no_grad()
def macs(net: nn.Module, size: tuple[int, int], *, elementwise: bool = False) -> dict[str, float]:
    """Multiply-accumulates of one image of ``size`` (H, W) by module, those inside it included; "" is the whole.

    ``elementwise`` adds the operations of batch norm (2 a number), ReLU and mean (1), as Li et al. do.
    """
    state = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    nowhere = {name: torch.empty_like(tensor, device="meta") for name, tensor in state.items()}
    mapping: dict[Any, Any] = {operation: _each(2 * times) for operation, times in ELEMENTWISE.items()}
    with (
        inference_mode_of(net),
        FlopCounterMode(display=False, custom_mapping=mapping if elementwise else None) as counter,
    ):
        torch.func.functional_call(net, nowhere, (torch.zeros(1, 3, *size, device="meta"),))
    top = type(net).__name__
    counts = {name: sum(each.values()) / 2 for name, each in counter.get_flop_counts().items()}
    return {name.removeprefix(top).removeprefix("."): count for name, count in counts.items() if name.startswith(top)}


def _each(times: int) -> Callable[..., int]:
    def flops(x: torch.Size, *_: Any, **__: Any) -> int:
        return times * x.numel()

    return flops
