"""Scores add up over images and undefined values are None, never 0 or NaN."""

import json

import pytest
import torch

from fewmask.core.files import metrics_json
from fewmask.scoring.evaluation import EvaluateConfig, Scores


def scores(*pairs: tuple[list[int], list[int]], classes: int = 3) -> Scores:
    found = Scores.empty(EvaluateConfig(), classes)
    for truth, predicted in pairs:
        maps = [torch.tensor(row, dtype=torch.uint8).view(1, 2, 2) for row in (truth, predicted)]
        found.add(*maps, torch.full((1, 2, 2), 0.75))
    return found


def test_worked_metrics():
    """Truth 0 0 1 void, predicted 0 1 1 2: class 0 has IoU 1/2, class 1 1/2, class 2 is in no truth.

    Accuracies 1/2 and 1; two of three pixels right; |0.75 - 2/3| = 0.0833.
    """
    metrics = scores(([0, 0, 1, 255], [0, 1, 1, 2])).metrics()
    assert metrics["miou"] == pytest.approx(0.5)
    assert metrics["mean_accuracy"] == pytest.approx(0.75)
    assert metrics["pixel_accuracy"] == pytest.approx(2 / 3)
    assert metrics["ece"] == pytest.approx(0.75 - 2 / 3)
    assert metrics["images"] == 1


def test_images_add_up_to_the_whole_set():
    one = scores(([0, 0, 1, 1], [0, 1, 1, 1]), ([2, 2, 0, 255], [2, 0, 0, 0]))
    assert one.matrix.sum() == 7
    assert one.metrics()["pixel_accuracy"] == pytest.approx(5 / 7)


def test_nothing_to_score_is_null_in_json():
    metrics = scores(([255] * 4, [0, 1, 2, 0])).metrics()
    assert metrics["miou"] is None and metrics["ece"] is None and metrics["pixel_accuracy"] is None
    assert json.loads(metrics_json(metrics))["miou"] is None


def test_tables():
    found = scores(([0, 0, 1, 255], [0, 1, 1, 2]))
    rows = found.per_class(["a", "b", "c"])
    assert [(row["class"], row["pixels"]) for row in rows] == [("a", 2), ("b", 1), ("c", 0)]
    rates = {(row["actual"], row["predicted"]): row["rate"] for row in found.pairs(["a", "b", "c"])}
    assert rates["a", "a"] == rates["a", "b"] == 0.5
    assert len(rates) == 9


def test_every_image_has_its_own_pairs_without_zeros():
    found = scores(([0, 0, 1, 255], [0, 1, 1, 2]), ([2, 2, 2, 255], [2, 2, 2, 0])).per_image(
        ["x", "y"], ["a", "b", "c"]
    )
    assert [tuple(row.values()) for row in found] == [
        ("x", "a", "a", 1), ("x", "a", "b", 1), ("x", "b", "b", 1), ("y", "c", "c", 3),
    ]  # fmt: skip
