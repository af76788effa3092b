"""``python -m stages.fuse``: a model that is scored and predicts like any other, by either kind of rule."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pytest import approx

from fewmask.core.errors import UserError
from fewmask.costs.macs import gmacs
from fewmask.fusion.fused import Fused
from fewmask.nets.base.published import load_model
from fewmask.prediction.predictor import Predictor
from fewmask.stores.images import Images
from stages import fuse, predict
from tests.stages.conftest import HEADER, SMALL, TAGGER

ALIKE = {"images": "images.h5", "split": "split.json", "model": "net.safetensors", "tagger": "tagger.safetensors"}


@pytest.fixture
def fused(run) -> Callable[..., Path]:
    """``fused(model="gated.safetensors")`` -> the model that the stage writes."""

    def make(out: str = "fused.safetensors", **options: str) -> Path:
        run(fuse, *[word for name, value in {**ALIKE, **options, "out": out}.items() for word in (f"--{name}", value)])
        return Path(out)

    return make


def table(name: str) -> dict[str, dict[str, str]]:
    return {row.pop("class"): row for row in csv.DictReader(Path(name, "details/fusion.csv").read_text().splitlines())}


def test_a_fused_model_is_scored_like_any_other(project, fused, scored) -> None:
    """It has the size and cost of both networks; what the tagger does not see wins no pixel."""
    project()
    fused()
    alone, both = scored("alone", "net"), scored("both", "fused")
    assert alone.keys() == both.keys()
    assert not Path("alone/details/fusion.csv").exists()
    nets = [load_model(Path(ALIKE[key])).net for key in ("model", "tagger")]
    assert both["parameters"] == sum(p.numel() for net in nets for p in net.parameters())
    assert both["gmacs"] == approx(sum(gmacs(net, (32, 48)) for net in nets), abs=1e-6)
    pairs = list(csv.DictReader(Path("both/confusion.csv").read_text().splitlines()))
    assert sum(int(row["pixels"]) for row in pairs if row["predicted"] == "road") == 0
    with Images(Path("images.h5")) as images:
        having = str(sum((images.mask(name) == 1).any() for name in images.ids[5:]))
    told = table("both")
    assert list(told) == HEADER.class_names
    assert [row["dropped"] for row in told.values()] == ["0", "4", "0"]
    assert [told["road"][key] for key in ("threshold", "images", "wrongly_dropped")] == ["0.2", having, having]


def test_a_folder_is_predicted_without_the_classes_that_the_tagger_does_not_see(project, fused, run) -> None:
    project()
    fused()
    Path("photos").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)).save("photos/a.png")
    for name in ("net", "fused"):
        run(predict, "--model", f"{name}.safetensors", "--images", "photos", "--out", name)
    alone, both = (np.asarray(Image.open(f"{name}/a.png")) for name in ("net", "fused"))
    assert 1 in alone and 1 not in both


def test_pixels_are_chosen_on_the_validation_images_and_leave_the_tagger_out(
    project, fused, scored, monkeypatch
) -> None:
    project("rule: pixels_per_class, pixels: [100, 400, 900]")
    seen = []
    logits = Predictor.logits
    monkeypatch.setattr(Predictor, "logits", lambda self, batch: (seen.append(batch), logits(self, batch))[1])
    model = load_model(fused())
    with Images(Path("images.h5")) as images:
        assert [batch.tolist() for batch in seen] == [images.stack(images.ids[2:5]).tolist()]
    assert set(model.header.network["thresholds"]) <= {0, 100, 400, 900}
    both, alone = scored("both", "fused"), scored("alone", "net")
    assert [both[key] for key in ("parameters", "gmacs")] == [alone[key] for key in ("parameters", "gmacs")]
    assert [row["threshold"] for row in table("both").values()] == [str(t) for t in model.header.network["thresholds"]]


def test_a_fused_routing_network_takes_the_same_ways_and_the_tagger_costs_the_same_for_each_image(
    project, fused, scored
) -> None:
    project()
    fused(model="gated.safetensors")
    both, alone = scored("both", "fused"), scored("alone", "gated")
    assert Path("both/details/routes.csv").read_bytes() == Path("alone/details/routes.csv").read_bytes()
    tagger = gmacs(load_model(Path(ALIKE["tagger"])).net, (32, 48))
    for key in ("gmacs", "gmacs_min", "gmacs_mean", "gmacs_max"):
        assert both[key] - alone[key] == approx(tagger, abs=2e-6)


def test_the_header_says_where_the_model_comes_from(project, fused, publish) -> None:
    project()
    publish("net", SMALL, params={"s4gan": 1, "seed": 0}, provenance={"torch": "2"})
    publish("tagger", TAGGER, params={"mlmt": 2, "seed": 0})
    first = fused()
    model, parts = load_model(first), [load_model(Path(ALIKE[key])) for key in ("model", "tagger")]
    assert isinstance(model.net, Fused)
    assert model.header.params == {"s4gan": 1, "mlmt": 2, "seed": 0, "fusion": {"tau": 0.2}}
    assert len(model.header.provenance.pop("fingerprint")) == 64
    assert model.header.provenance == {"torch": "2", "base": parts[0].digest, "tagger": parts[1].digest}
    assert first.read_bytes() == fused().read_bytes()


def test_a_rule_of_pixels_needs_validation_images(project, fused) -> None:
    project("rule: pixels", validation=0)
    with pytest.raises(UserError, match=r"^fusion\.rule: pixels is chosen on the validation images"):
        fused()
    assert not Path("fused.safetensors").exists()
    project(validation=0)
    assert fused().exists()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"model": "tagger.safetensors"}, "^tagger.*: holds the network 'tagger'; expected a segmentation model"),
        ({"tagger": "net.safetensors"}, "^net.*: holds the network 'dsnet'; expected a tagger"),
        ({"tagger": "none.safetensors"}, "^none.safetensors: no such file"),
        ({"model": "fused.safetensors"}, "^fused.*: holds the network 'fused'; expected a segmentation network alone"),
        ({"tagger": "classes.safetensors"}, r"^c.*: was trained with the classes \['sky', .*; net.* with \['sky', "),
        (
            {"tagger": "size.safetensors"},
            r"^size.*: was trained with the size \[32, 32\]; net.* with \[32, 48\]\. ",
        ),
        ({"tagger": "mean.safetensors"}, r"^mean.*: was trained with the mean of the input \[0\.1, "),
        ({"tagger": "std.safetensors"}, r"^std.*: was trained with the deviation of the input \[1\.0, "),
    ],
    ids=lambda value: " ".join(value.values()) if isinstance(value, dict) else "",
)
def test_models_that_do_not_belong_together_are_refused_by_name(project, fused, publish, options, match) -> None:
    project()
    fused()
    publish("classes", TAGGER, class_names=["sky", "car", "road"])
    publish("size", TAGGER, size=[32, 32])
    publish("mean", TAGGER, mean=[0.1, 0.2, 0.3])
    publish("std", TAGGER, std=[1.0] * 3)
    with pytest.raises(UserError, match=match) as told:
        fused("other.safetensors", **options)
    assert len(str(told.value).splitlines()) == 1
    assert not Path("other.safetensors").exists()
