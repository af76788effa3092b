"""From bytes to the input of a network."""

import torch
from torch import Tensor


class Normalise:
    """uint8 RGB to the network's input: ``x * scale + bias`` per channel."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device | str = "cpu"):
        self.mean, self.std = mean, std
        self.scale = (1 / (255 * torch.tensor(std))).to(device)
        self.bias = (-torch.tensor(mean) / torch.tensor(std)).to(device)
        self.colour = (255 * torch.tensor(mean)).round().to(device, torch.uint8)  # what padding is filled with

    def __call__(self, images: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 -> (B, 3, H, W) float32, channels last in memory.

        Scale and bias are repeated along a row: three channels against channels-last memory broadcast slowly.
        """
        width = images.shape[2]
        rows = torch.addcmul(self.bias.repeat(width), images.flatten(2).float(), self.scale.repeat(width))
        return rows.view(images.shape).permute(0, 3, 1, 2)

    def colours(self, x: Tensor) -> Tensor:
        """x (B, 3, H, W), as made here -> RGB in 0..1."""
        return (x - self.bias[:, None, None]) / (255 * self.scale[:, None, None])
