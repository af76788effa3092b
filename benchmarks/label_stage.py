"""Images a second of the label stage, start-up excluded, in percent of the bare networks' rate."""

import shutil
from pathlib import Path
from typing import Any

import torch

from benchmarks.inputs import CLASSES, LARGE, NAMES, SMALL, WHOLE, image_store, network, scenes, section
from benchmarks.timing import Bench, Result, take_turns
from fewmask.core.errors import ConfigError
from fewmask.core.progress import warn
from fewmask.nets.base.normalise import Normalise
from fewmask.nets.base.published import Header, save_model
from fewmask.nets.base.weights import IMAGENET
from fewmask.prediction.predictor import BATCH, Predictor
from fewmask.prediction.shards import SHARD, label_in_shards
from fewmask.stores.images import Images


def publish(path: Path, architecture: dict[str, Any], size: tuple[int, int], base: str | None = None) -> str:
    """A model file of an untrained network; return its digest."""
    mean, std = (list(values) for values in IMAGENET)
    published = {**architecture, "weights": None} if "weights" in architecture else architecture
    header = Header(published, NAMES, [[0, 0, 0]] * CLASSES, mean, std, list(size), {}, {"base": base})
    return save_model(path, network(published), header)


def labelling_rate(bench: Bench, predictor: Predictor, size: tuple[int, int], count: int) -> dict[str, float]:
    """Seconds per image of the label stage's loop and of the bare networks."""
    images, masks = scenes(8, size)
    names = [f"i{number:04d}" for number in range(count)]
    x = Normalise(*IMAGENET)(torch.from_numpy(images))
    shards = bench.folder / "shards"

    with Images(image_store(bench.folder / f"label{size[0]}.h5", names, images, masks)) as store:

        def ours() -> None:
            shutil.rmtree(shards, ignore_errors=True)
            shards.mkdir()
            label_in_shards(predictor, store, names, shards, "label")

        @torch.inference_mode()
        def bare() -> None:
            for _ in range(0, count, BATCH):
                probabilities = predictor.model.net(x).softmax(1)
                if predictor.judge:
                    predictor.judge.net(probabilities)

        return take_turns(bench.some(5, 1), ours=ours, bare=bare).seconds(each=count)


def measure(bench: Bench) -> list[Result]:
    """Images a second of the label stage, start-up excluded, in percent of the bare networks' rate."""
    model, judge, small, small_judge = (bench.folder / name for name in ("model", "judge", "small", "small_judge"))
    publish(judge, {"name": "judge", "width": 1.0}, LARGE, publish(model, WHOLE, LARGE))
    cases = {"dsnet 1 + auxiliary 1, 360x480": (Predictor(model, judge), LARGE, bench.some(SHARD, BATCH))}
    try:
        digest = publish(small, section("camvid_small", "network"), SMALL)
        publish(small_judge, {"name": "judge", "width": 0.5}, SMALL, digest)
        cases["lite0 + auxiliary 0.5, 180x240"] = (Predictor(small, small_judge), SMALL, bench.some(SHARD, BATCH))
        cases["lite0 alone, 180x240"] = (Predictor(small), SMALL, bench.some(SHARD, BATCH))
    except ConfigError as error:
        warn(str(error))
    results = []
    for what, (predictor, size, count) in cases.items():
        times = labelling_rate(bench, predictor, size, count)
        share = 100 * times["bare"] / times["ours"]
        rate = {"images_per_s": 1 / times["ours"], "bare_images_per_s": 1 / times["bare"]}
        results.append(Result(f"{what}, of the bare rate", share, "%", least=85, absolute=rate))
    return results
