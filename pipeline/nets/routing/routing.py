"""The network that SELENE trains: "Learning Dynamic Routing for Semantic Segmentation" (Li et al., CVPR 2020).

A grid of cells, layers by levels; each level has half the size of the one before and twice the channels. The gates of a
cell look at its input and open or close its paths to the next layer. So each image takes a route of its own. SELENE
calls the joint training of these gates the search of an architecture.

Choices:
- A gate of at most 1e-4 is 0 (authors' code: not counted as cost, yet multiplied).
- An image whose sides 32 does not divide is padded and its map cropped.
- ``paths`` fixes an architecture. Tables: docs/methods/selene.md.
"""

from collections.abc import Iterator
from math import ceil
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from fewmask.core.params import Section
from fewmask.nets.base.segnet import Backbone, Features, Head, Levels, SegNet
from fewmask.nets.base.weights import IMAGENET, Scale, State, fill, read_state
from fewmask.nets.routing.cells import PATHS, Cell, Stem, convolved

LEVELS = 4  # strides 4, 8, 16, 32
DEEPEST = 2 ** (LEVELS + 1)
Grid = list[list[list[str]]]  # the paths of every cell: layer by layer, in it level by level, finest first


class Config(Section):
    """``layers`` is the paper's L, ``channels`` those of the finest level; small gates look at a quarter of each side.

    ``paths`` makes a fixed network without gates. It holds a text for each layer, the initial cell's first. A text
    holds a word for each cell, finest first: the first letters of its open paths (keep, up, down), or ``-`` for none.
    """

    name: Literal["routing"] = "routing"
    layers: int = Field(default=16, ge=LEVELS - 1, le=1000)
    channels: int = Field(default=64, gt=0, le=4096, multiple_of=2)
    small_gates: bool = False
    paths: list[str] | None = None
    weights: str | None = None  # a local state dict of the backbone, or a published model of this network

    @model_validator(mode="after")
    def _paths_lie_in_the_grid(self) -> Self:
        if self.paths is None:
            return self
        whole = [text_of(layer) for layer in full_grid(self.layers)]
        if len(self.paths) != len(whole):
            raise ValueError(f"paths has {len(self.paths)} texts for layers: {self.layers}; expected {len(whole)}")
        for text, most in zip(self.paths, whole, strict=True):
            found, able = text.split(), most.split()
            if len(found) != len(able) or not all(_lies_in(one, all_) for one, all_ in zip(found, able, strict=True)):
                raise ValueError(
                    f"paths: found the layer '{text}'; expected '{most}', or '-' or less of its letters in a word"
                )
        return self


def full_grid(layers: int) -> Grid:
    """Every path there can be: the initial cell, then ``layers`` layers that reach one level deeper each, up to four.

    There is no way up from the finest level nor down from the deepest, and the last layer's cells only keep.
    """
    found = []
    for number in range(layers + 1):
        here, later = (min(number + more, LEVELS) for more in (1, 2))
        ways = [("keep", "up" * (level > 0), "down" * (level + 1 < later)) for level in range(here)]
        found.append([[path for path in way if path] for way in ways] if number < layers else [["keep"]] * here)
    return found


def text_of(layer: list[list[str]]) -> str:
    """A layer's paths as ``Config.paths`` has them."""
    return " ".join("".join(path[0] for path in cell) or "-" for cell in layer)


def _lies_in(word: str, most: str) -> bool:
    return word == "-" or (set(word) <= set(most) and len(set(word)) == len(word))


def grid_of(config: Config) -> Grid:
    """The paths of the network's cells."""
    whole = full_grid(config.layers)
    if config.paths is None:
        return whole
    return [
        [[path for path in cell if path[0] in word] for cell, word in zip(layer, text.split(), strict=True)]
        for layer, text in zip(whole, config.paths, strict=True)
    ]


class Encoder(nn.Module):
    """Stem and grid: x (B, 3, H, W) -> the maps of all levels after the last layer, and the gates on the way."""

    columns: Tensor

    def __init__(self, config: Config):
        super().__init__()
        self.stem = Stem(config.channels)
        self.fixed = fixed = config.paths is not None
        self.layers = nn.ModuleList(
            nn.ModuleList(
                Cell(config.channels * 2**i, paths, fixed, config.small_gates) for i, paths in enumerate(layer)
            )
            for layer in grid_of(config)
        )
        columns = [3 * place + PATHS.index(path) for place, cell in enumerate(self.cells()) for path in cell.paths]
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.long), persistent=False)

    def cells(self) -> Iterator[Cell]:
        """Layer by layer, finest first."""
        for layer in self.layers:
            yield from layer  # type: ignore[misc]

    def forward(self, x: Tensor) -> Levels:
        height, width = x.shape[2:]
        maps, gates = [self.stem(F.pad(x, (0, -width % DEEPEST, 0, -height % DEEPEST)))], []
        for number, layer in enumerate(self.layers, 2):
            left = [cell(each) for cell, each in zip(layer, maps, strict=True)]  # type: ignore[call-overload]
            maps = arrived([paths for paths, _ in left], maps[0], min(number, LEVELS))
            gates += [opened for _, opened in left]
        table = x.new_zeros((len(x), 3 * len(gates)), dtype=torch.float)
        table = table.index_copy(1, self.columns, torch.cat(gates, 1))
        return Levels(maps, table.view(len(x), len(gates), 3), (ceil(height / 4), ceil(width / 4)))


def arrived(left: list[dict[str, Tensor]], finest: Tensor, levels: int) -> list[Tensor]:
    """What left the cells of a layer, added up where it arrives, level by level; zeros where nothing does.

    ``finest`` is a map of the finest level.
    """
    parts: list[list[Tensor]] = [[] for _ in range(levels)]
    for level, maps in enumerate(left):
        for path, step in zip(PATHS, (0, -1, 1), strict=True):
            if path in maps:
                parts[level + step].append(maps[path])
    return [sum(maps[1:], maps[0]) if maps else nothing(finest, level) for level, maps in enumerate(parts)]


def nothing(finest: Tensor, level: int) -> Tensor:
    batch, channels, height, width = finest.shape
    return finest.new_zeros(batch, channels * 2**level, height // 2**level, width // 2**level)


class Decoder(Head):
    """From the deepest level up: 1x1 convolution, twice the size, plus the next finer level; then a 3x3 classifier."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.channels = channels
        wide = [channels * 2**level for level in range(LEVELS)]
        self.steps = nn.ModuleList(
            nn.Sequential(*convolved(inputs, outputs), nn.ReLU(inplace=True))
            for inputs, outputs in zip(reversed(wide), [*reversed(wide[:-1]), channels], strict=True)
        )
        self.classify = nn.Conv2d(channels, classes, 3, padding=1)

    def embed(self, features: Features) -> Tensor:
        """The grid's maps -> (B, channels, H/4, W/4), cropped where the image was padded."""
        levels = features[-1]
        assert isinstance(levels, Levels), "the decoder belongs to the grid"
        y, *finer = reversed(levels.maps)
        for step, beside in zip(self.steps[:-1], finer, strict=True):
            y = F.interpolate(step(y), scale_factor=2, mode="bilinear", align_corners=False) + beside
        embedding: Tensor = self.steps[-1](y)
        return embedding[:, :, : levels.size[0], : levels.size[1]]

    def score(self, embedding: Tensor) -> Tensor:
        """(B, channels, H/4, W/4) -> logits (B, classes, H/4, W/4)."""
        scores: Tensor = self.classify(embedding)
        return scores


def build(config: Config, classes: int) -> SegNet:
    """x (B, 3, H, W) -> logits (B, classes, H, W).

    Of a published model of as many classes the head is taken over, too.
    """
    made = backbone(config)
    net = SegNet(made.blocks, head(config, made, classes))
    state = {} if config.weights is None else _under("head.", read_state(config.weights))
    if len(state.get("classify.bias", ())) == classes:
        fill(net.head, state, str(config.weights))
    return net


def backbone(config: Config) -> Backbone:
    """One block, the grid: its cells take more than one map, and no other network can leave it half-way."""
    encoder = Encoder(config)
    blocks = nn.ModuleList([encoder])
    if config.weights is not None:
        state = read_state(config.weights, "the path of a .pt or .safetensors file")
        fill(blocks, _under("blocks.", state) or state, config.weights)
    return Backbone(blocks, [config.channels * 2 ** (LEVELS - 1)], [DEEPEST])


def _under(prefix: str, state: State) -> State:
    """What of a whole network's state lies under a name."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def head(config: Config, backbone: Backbone, classes: int) -> Head:
    return Decoder(config.channels, classes)


def normalisation(config: Config) -> Scale:
    """Mean and standard deviation of the input, RGB in 0..1."""
    return IMAGENET


def encoder_of(net: nn.Module) -> Encoder | None:
    """The grid of a segmentation network, if it has one."""
    first = net.blocks[0] if isinstance(net, SegNet) else None
    return first if isinstance(first, Encoder) else None
