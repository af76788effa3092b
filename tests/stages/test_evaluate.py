"""``python -m stages.evaluate``, with and without a routing network: numbers and pictures."""

import json
from pathlib import Path

import pytest
import torch

from fewmask.core.errors import DataError
from fewmask.prediction.predictor import Predictor
from fewmask.reporting.results import read_routes
from fewmask.stores.images import Images
from stages import evaluate


def test_the_ways_of_a_routing_network_are_written_and_drawn(project, scored) -> None:
    """Mean gates of the evaluated images, as the report reads them; their cost is in the metrics."""
    project()
    metrics = scored("routed", "gated")
    assert metrics["gmacs_min"] < metrics["gmacs_mean"] < metrics["gmacs_max"] <= metrics["gmacs"]
    predictor = Predictor(Path("gated.safetensors"))
    with Images(Path("images.h5")) as images, torch.no_grad():
        x = predictor.normalise(torch.from_numpy(images.stack(images.ids[5:])))
        gates = predictor.model.net.features(x)[-1].gates
    table = read_routes(Path("routed/details/routes.csv"))
    assert [row["keep"] for row in table] == pytest.approx(gates[..., 0].mean(0).tolist(), abs=1e-5)
    assert [row["open"] for row in table] == (gates > 0).any(2).float().mean(0).tolist()
    picture = Path("routed/details/routes.svg").read_text()
    assert picture.count("<line") == 2 + 2 + 3 + 2 + 3 + 3


def test_a_network_without_gates_has_no_ways(project, scored) -> None:
    project()
    metrics = scored("plain", "net")
    assert len({metrics[key] for key in ("gmacs_min", "gmacs_mean", "gmacs_max", "gmacs")}) == 1
    assert [path.name for path in sorted(Path("plain/details").iterdir())] == ["examples.png", "images.csv"]


def test_the_resolution_changes_what_an_image_costs_and_nothing_else(project, scored) -> None:
    """Four times the pixels of the working size, padded to 32 x 64, and less of them at the border."""
    project()
    before = scored("before", "gated")
    written = {path.name: path.read_bytes() for path in Path("before").rglob("*.*")}
    project(scoring="resolution: [64, 128]")
    after = scored("after", "gated")
    assert {key for key in after if after[key] != before[key]} == {"gmacs", "gmacs_min", "gmacs_mean", "gmacs_max"}
    assert 4 < after["gmacs"] / before["gmacs"] < 4.2
    assert {path.name: path.read_bytes() for path in Path("after").rglob("*.*")} == written


def test_params_say_which_images_are_scored_and_the_metrics_repeat_it(project, scored, run) -> None:
    project(scoring="role: validation")
    assert {key: scored("choice", "net")[key] for key in ("role", "images")} == {"role": "validation", "images": 3}
    stores = ("--images", "images.h5", "--split", "split.json", "--model", "net.safetensors")
    run(evaluate, *stores, "--role", "test", "--out", "asked.json", "--plots", "asked")
    asked = json.loads(Path("asked.json").read_text())
    assert (asked["role"], asked["images"]) == ("test", 4)


def test_a_role_without_images_is_refused(project, scored) -> None:
    project(scoring="role: validation", validation=0)
    with pytest.raises(DataError, match=r"^split: no validation image to score; expected some. Set split.validation"):
        scored("choice", "net")
