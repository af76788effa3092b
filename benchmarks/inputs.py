"""What several measurements share: drawn data, stores of it, networks, and the bare step of a training.

Street scenes are drawn. Label maps are blobs whose compressed sizes are those of a trained network's (360x480: 4 KB as
PNG, 7 KB as gzip-1; float32 confidences 0.5 MB).
"""

import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewmask.core.errors import ConfigError
from fewmask.core.params import Params
from fewmask.datasets.streets.scenes import draw
from fewmask.learning.batches import Batches, Pool
from fewmask.learning.recipe import build_from
from fewmask.learning.views import IGNORE, WeakViews
from fewmask.nets.base.normalise import Normalise
from fewmask.nets.base.weights import IMAGENET
from fewmask.stores.codes import encode
from fewmask.stores.images import write_images
from fewmask.stores.labels import Labelled

ROOT = Path(__file__).resolve().parents[1]
CLASSES, NAMES = 11, [f"class{number:02d}" for number in range(11)]
LARGE, SMALL = (360, 480), (180, 240)
HALF = {"name": "dsnet", "width": 0.5}
WHOLE = {"name": "dsnet", "width": 1.0}


@cache
def maps(count: int, size: tuple[int, int] = LARGE) -> list[tuple[np.ndarray, np.ndarray]]:
    """Labels (H, W) uint8 and confidences (H, W) float32: the softmax of smooth random scores of stride 4."""
    random = torch.Generator().manual_seed(0)
    grid = (size[0] // 4, size[1] // 4)

    def field(height: int, width: int) -> Tensor:
        return F.interpolate(torch.randn(1, CLASSES, height, width, generator=random), grid, mode="bicubic")

    made = []
    for _ in range(count):
        scores = 12 * field(3, 4) + 0.5 * field(23, 30) + 0.3 * field(*grid)
        largest, label = F.interpolate(scores, size, mode="bilinear").softmax(1)[0].max(0)
        made.append((label.to(torch.uint8).numpy(), largest.numpy()))
    return made


@cache
def scenes(count: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Drawn images (N, H, W, 3) and masks (N, H, W), uint8."""
    images, masks = zip(*(draw(0, index, size) for index in range(count)), strict=True)
    return np.stack(images), np.stack(masks)


def image_store(path: Path, names: list[str], images: np.ndarray, masks: np.ndarray) -> Path:
    """An image store of ``names``; the arrays are repeated as often as needed."""
    rows = ((name, "train", images[i % len(images)], masks[i % len(masks)]) for i, name in enumerate(names))
    write_images(path, rows, len(names), NAMES, [(0, 0, 0)] * CLASSES)
    return path


def labelled_items(count: int, distinct: int) -> list[Labelled]:
    """What a label stage would store."""
    coded = [(label, encode(confidence)) for label, confidence in maps(distinct)]
    return [Labelled(f"i{number:04d}", *coded[number % distinct]) for number in range(count)]


@cache
def section(preset: str, key: str) -> dict[str, Any]:
    """A section of a preset's params."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "params.yaml")
        command = [sys.executable, "-m", "stages.preset", preset, "--out", str(path)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        return dict(Params(path).raw(key))


def network(architecture: dict[str, Any]) -> nn.Module:
    """The network of a section, channels last in memory."""
    return build_from(architecture, CLASSES).to(memory_format=torch.channels_last)


def small_network() -> tuple[str, nn.Module]:
    """camvid_small's network, or a small one where timm and the weights are not installed."""
    try:
        return "deeplabv3plus lite0", network(section("camvid_small", "network"))
    except ConfigError:
        return "dsnet 0.5", network(HALF)


def random_batch(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """x (8, 3, H, W) and y (8, H, W)."""
    images, masks = scenes(8, size)
    return Normalise(*IMAGENET)(torch.from_numpy(images)), torch.from_numpy(masks).long()


def memory_batches(images: np.ndarray, masks: np.ndarray, views: WeakViews) -> Batches:
    """One training stream of batches of 8."""
    labelled, nothing = Pool(images, masks, 0, "labelled"), Pool(images[:0], masks[:0], 0, "unlabelled")
    return Batches([(labelled, 8)], len(images), (nothing, 0), views, Normalise(*IMAGENET), CLASSES)


class BareStep:
    """Forward, cross-entropy, backward and a fused optimiser step, and nothing else."""

    def __init__(self, net: nn.Module, x: Tensor, y: Tensor, weight: Tensor | None = None):
        self.net, self.x, self.y, self.weight = net.train(), x, y, weight
        self.optimiser = torch.optim.AdamW(net.parameters(), 1e-4, fused=True)

    def __call__(self) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(self.net(self.x), self.y, self.weight, ignore_index=IGNORE).backward()
        self.optimiser.step()
