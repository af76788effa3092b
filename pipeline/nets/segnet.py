"""What every segmentation network is here: a row of blocks and a head, so that a second branch can leave the row."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SegNet(nn.Module):
    """A row of blocks and a head: x -> blocks -> features -> head -> logits at the input's size."""

    def __init__(self, blocks: nn.ModuleList, head: nn.Module):
        super().__init__()
        self.blocks, self.head = blocks, head

    def features(self, x: Tensor) -> list[Tensor]:
        """x (B, 3, H, W) -> the output of every block, in order."""
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return outputs

    def forward(self, x: Tensor) -> Tensor:
        """x (B, 3, H, W) normalised -> logits (B, C, H, W)."""
        return resize(self.head(self.features(x)), x.shape[2:])


def resize(x: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    """x (B, C, h, w) -> (B, C, *size), bilinear, corners not aligned; x itself where the size is right."""
    if x.shape[2:] == tuple(size):
        return x
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)


def conv_bn_relu(inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Convolution ("same" padding, no bias), batch norm, ReLU."""
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
