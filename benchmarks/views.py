"""A batch of 8 weak views from memory, against PNG files through PIL; and its share in a training step."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import normalize, to_tensor

from benchmarks.inputs import HALF, LARGE, SMALL, BareStep, memory_batches, network, random_batch, scenes, section
from benchmarks.timing import Bench, Result, take_turns
from fewmask.learning.views import IGNORE, WeakViews
from fewmask.nets.base.weights import IMAGENET


def plain_sample(path: Path, views: WeakViews, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """The same weak view by PIL: decode, resize the whole image, cut or pad, flip, ToTensor, Normalize."""
    image, mask = Image.open(path).convert("RGB"), Image.open(path.with_suffix(".mask.png"))
    scale = rng.choice(views.scales)
    size = [round(side * scale) for side in image.size]
    shift = rng.integers(-views.shift, views.shift + 1, 2)
    rooms = zip(rng.random(2), image.size, size, shift, strict=True)
    corner = tuple(int(r * (side - s) + d) for r, side, s, d in rooms)
    canvas, target = Image.new("RGB", image.size, (124, 116, 104)), Image.new("L", image.size, IGNORE)
    canvas.paste(image.resize(size, Image.Resampling.BILINEAR), corner)
    target.paste(mask.resize(size, Image.Resampling.NEAREST), corner)
    if rng.random() < views.flip:
        canvas, target = (picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for picture in (canvas, target))
    return normalize(to_tensor(canvas), *IMAGENET), torch.from_numpy(np.array(target)).long()


def measure(bench: Bench) -> list[Result]:
    """A batch of 8 from memory against 8 PNG files through PIL; and its share in a step of a small network."""
    views = WeakViews(**section("camvid", "supervised")["views"])
    images, masks = scenes(32, LARGE)
    paths = [bench.folder / f"{number}.png" for number in range(len(images))]
    for path, image, mask in zip(paths, images, masks, strict=True):
        Image.fromarray(image).save(path)
        Image.fromarray(mask).save(path.with_suffix(".mask.png"))
    batches, rng, steps = memory_batches(images, masks, views), np.random.default_rng(0), iter(range(1 << 30))

    def plain() -> tuple[Tensor, Tensor]:
        x, y = zip(*(plain_sample(paths[i], views, rng) for i in rng.integers(0, len(paths), 8)), strict=True)
        return torch.stack(x), torch.stack(y)

    turns = take_turns(bench.some(25, 5), ours=lambda: batches(next(steps)), plain=plain)
    small = memory_batches(*scenes(32, SMALL), views)
    step = BareStep(network(HALF), *random_batch(SMALL))
    both = take_turns(bench.some(25, 5), data=lambda: small(next(steps)), step=step).seconds()
    share = 100 * both["data"] / sum(both.values())
    return [
        turns.against("batch of 8 weak views 360x480, against PIL per image", "plain", least=10),
        Result("share of it in a step, dsnet 0.5 180x240 batch 8", share, "%", most=10, absolute=both),
    ]
