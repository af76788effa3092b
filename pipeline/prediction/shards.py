"""Label many images so that a kill costs at most one shard."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from fewmask.core.masks import IGNORE
from fewmask.core.progress import Progress, say
from fewmask.prediction.predictor import BATCH, Predictor
from fewmask.stores.codes import EDGES, encode
from fewmask.stores.images import Images
from fewmask.stores.labels import Labelled, shard_is_good, write_shard

SHARD = 64  # images; independent of how many processes work, so the bytes are too


def label_in_shards(predictor: Predictor, images: Images, names: Sequence[str], folder: Path, title: str) -> list[Path]:
    """Label ``names`` into shards in ``folder``, passing over those that are whole already; return their paths."""
    parts = [names[first : first + SHARD] for first in range(0, len(names), SHARD)]
    paths = [folder / f"shard-{number:05d}.h5" for number in range(len(parts))]
    done = [path.is_file() and shard_is_good(path, part) for path, part in zip(paths, parts, strict=True)]
    if any(done):
        say(f"[{title}] resumed: {sum(done)} of {len(parts)} shards are there")
    finished = sum(len(part) for part, good in zip(parts, done, strict=True) if good)
    with Progress(title, len(names), "image", finished) as progress:
        for number, (path, part) in enumerate(zip(paths, parts, strict=True)):
            if not done[number]:
                items: list[Labelled] = []
                for first in range(0, len(part), BATCH):
                    items += label_batch(predictor, images, part[first : first + BATCH])
                    progress.show(finished + len(items))
                write_shard(path, items, number * SHARD, len(images.class_names))
                finished += len(part)
    return paths


def label_batch(predictor: Predictor, images: Images, names: Sequence[str]) -> list[Labelled]:
    """Label a few images at once; padding gets no label, and confidence 0."""
    labels, confidences = (_numpy(tensor) for tensor in predictor(images.stack(names)))
    codes = encode(confidences, EDGES)
    for name, label, code in zip(names, labels, codes, strict=True):
        height, width = images.extent(name)
        for array, outside in ((label, IGNORE), (code, 0)):
            array[height:], array[:, width:] = outside, outside
    return [Labelled(name, label, code) for name, label, code in zip(names, labels, codes, strict=True)]


def _numpy(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.cpu().numpy()
    return array
