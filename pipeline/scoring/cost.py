"""What a network costs: parameters, and multiply-accumulates counted by PyTorch itself."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(net: nn.Module) -> int:
    """Number of trainable and frozen parameters."""
    return sum(parameter.numel() for parameter in net.parameters())


@torch.no_grad()
def gmacs(net: nn.Module, shape: tuple[int, int, int]) -> float:
    """10^9 multiply-accumulates of one image of ``shape`` (channels, H, W)."""
    device = next(net.parameters()).device
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, *shape, device=device))
    return counter.get_total_flops() / 2e9
