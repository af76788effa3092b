"""The cells of a routing network (routing.py): a separable convolution, paths out of it, and gates that open them.

h = ReLU(SepConv(x) + x); keep = a_k h, up = a_u Up(h), down = a_d Down(h); a = max(0, tanh(gate(x))), one a path. A
cell whose paths are all closed passes x on unchanged. In training all is computed, so that batch norm sees every image.
Where nothing is learned, closed paths are left out.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATHS = ("keep", "up", "down")
CLOSED = 1e-4  # a gate up to this is 0: the bound below which the authors' code counts no cost
WORTH = 0.5  # the share of a batch up to which its open images are gathered
OPENED = 1.5  # bias of a new gate: tanh(1.5) = 0.905


class Gate(nn.Module):
    """x (B, C, h, w) -> how far each of ``paths`` paths is open, (B, paths) float32 in [0, 1)."""

    def __init__(self, channels: int, paths: int, small: bool):
        super().__init__()
        self.small = small
        self.look = nn.Sequential(*convolved(channels, channels // 2), nn.ReLU(inplace=True))
        self.decide = nn.Linear(channels // 2, paths)
        nn.init.kaiming_normal_(self.decide.weight)
        nn.init.constant_(self.decide.bias, OPENED)

    def forward(self, x: Tensor) -> Tensor:
        if self.small:
            x = F.interpolate(x, [max(1, side // 4) for side in x.shape[2:]], mode="bilinear", align_corners=False)
        return opened(self.decide(self.look(x).mean((2, 3))).float().tanh())


class Constant(nn.Module):
    """The gates of a fixed cell: one learned factor for each path, whatever the image; x -> (B, paths) float32."""

    def __init__(self, paths: int):
        super().__init__()
        self.factors = nn.Parameter(torch.ones(paths))

    def forward(self, x: Tensor) -> Tensor:
        return opened(self.factors).expand(len(x), -1)


def opened(gates: Tensor) -> Tensor:
    """The same, and 0 where it is closed."""
    return F.threshold(gates, CLOSED, 0.0)


class Cell(nn.Module):
    """One place of the grid; ``paths`` are those that may leave it, and without any it only passes its input on.

    ``fixed``: they are always open. ``small``: the gate looks at a quarter of each side.
    """

    def __init__(self, channels: int, paths: list[str], fixed: bool = False, small: bool = False):
        super().__init__()
        self.paths = paths
        if not paths:
            return
        self.gate = Constant(len(paths)) if fixed else Gate(channels, len(paths), small)
        self.op = nn.Sequential(*separable(channels), nn.ReLU(inplace=True), *separable(channels))
        if "up" in paths:
            larger = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
            self.up = nn.Sequential(*convolved(channels, channels // 2), nn.ReLU(inplace=True), larger)
        if "down" in paths:
            self.down = nn.Sequential(*convolved(channels, channels * 2, stride=2), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """x (B, C, h, w) -> the map that leaves along each path, closed ones left out or 0, and gates (B, paths)."""
        if not self.paths:
            return {"keep": x}, x.new_zeros((len(x), 0), dtype=torch.float)
        gates = self.gate(x)
        return (self._open(x, gates) if self._skips(x) else self._all(x, gates)), gates

    def _skips(self, x: Tensor) -> bool:
        """Not where anything is learned, be it only statistics; on the device ``meta`` there is nothing to look at."""
        return not (torch.is_grad_enabled() or self.training or self.op[2].training or x.is_meta)

    def _all(self, x: Tensor, gates: Tensor) -> dict[str, Tensor]:
        h = F.relu(self.op(x) + x)
        maps = {path: times(self._along(path, h), gates[:, place]) for place, path in enumerate(self.paths)}
        active = (gates > 0).any(1)[:, None, None, None]
        return maps | {"keep": torch.where(active, maps.get("keep", 0.0), x)}

    def _open(self, x: Tensor, gates: Tensor) -> dict[str, Tensor]:
        """The same without what is closed: the images of a batch are grouped by cell and by path.

        The device is asked once, what is open.
        """
        table, maps = gates.tolist(), {}
        opening = [number for number, row in enumerate(table) if any(row)]
        active = grouped(opening, list(range(len(x))))
        if active:
            part = rows(x, active)
            h = F.relu(self.op(part) + part)
        for place, path in enumerate(self.paths):
            taking = [number for number in opening if table[number][place]]
            if taking:
                taking = active if path == "keep" else grouped(taking, active)  # to keep is no work
                made = self._along(path, rows(h, [active.index(number) for number in taking]))
                maps[path] = spread(times(made, rows(gates[:, place], taking)), taking, len(x))
        if not opening:
            return {"keep": x}
        if len(opening) < len(x):  # the others hand their input on
            opens = (gates > 0).any(1)[:, None, None, None]
            maps["keep"] = torch.where(opens, maps.get("keep", 0.0), x)
        return maps

    def _along(self, path: str, h: Tensor) -> Tensor:
        made: Tensor = h if path == "keep" else getattr(self, path)(h)
        return made


def times(maps: Tensor, factors: Tensor) -> Tensor:
    """Maps (B, C, h, w), each times its factor (B,)."""
    return maps * factors.to(maps.dtype)[:, None, None, None]


def grouped(some: list[int], everyone: list[int]) -> list[int]:
    """Some images of a batch, or everyone where so few are spared that to copy the others costs more."""
    return some if len(some) <= WORTH * len(everyone) else everyone


def rows(x: Tensor, numbers: list[int]) -> Tensor:
    """Those of the batch; x itself where that is all of it."""
    if len(numbers) == len(x):
        return x
    if len(numbers) == 1:  # no copy
        return x[numbers[0] : numbers[0] + 1]
    return x[torch.tensor(numbers, device=x.device)]


def spread(x: Tensor, numbers: list[int], batch: int) -> Tensor:
    """The inverse of ``rows``: a batch with x in the places ``numbers`` and 0 elsewhere."""
    if len(numbers) == batch:
        return x
    whole = x.new_zeros((batch, *x.shape[1:])).contiguous(memory_format=torch.channels_last)
    whole[torch.tensor(numbers, device=x.device)] = x
    return whole


class Pointwise(nn.Conv2d):
    """A 1x1 convolution that is safe with a stride: see ``forward``."""

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, h, w) -> (B, D, h', w').

        On AVX2 oneDNN (torch 2.14) writes past its memory in the weights' gradient of a strided 1x1 convolution whose
        channels are no multiple of 8. Taking the pixels first is the same convolution.
        """
        if self.stride == (1, 1) or self.in_channels % 8 == 0 or torch.backends.cpu.get_cpu_capability() != "AVX2":
            return super().forward(x)
        return F.conv2d(x[:, :, :: self.stride[0], :: self.stride[1]], self.weight, self.bias)


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, padding: int = 0) -> nn.Conv2d:
    """Without bias, drawn as the authors' code does."""
    kind = Pointwise if kernel == 1 else nn.Conv2d
    made = kind(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    nn.init.kaiming_normal_(made.weight)
    return made


def convolved(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    """A 1x1 convolution and batch norm."""
    return [conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)]


def separable(channels: int, stride: int = 1) -> list[nn.Module]:
    """A depthwise 3x3 convolution, a 1x1 and batch norm."""
    return [conv(channels, channels, 3, stride, channels, padding=1), *convolved(channels, channels)]


class Stem(nn.Sequential):
    """x (B, 3, H, W), sides multiples of 4 -> (B, C, H/4, W/4)."""

    def __init__(self, channels: int):
        first = [conv(3, channels, 3, stride=2), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
        second = [*separable(channels), nn.ReLU(inplace=True)]
        super().__init__(*first, *second, *separable(channels, stride=2), nn.ReLU(inplace=True))
