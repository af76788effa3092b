"""A class that the tagger does not see in an image is not painted there, whatever its logits."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from fewmask.core.errors import ArtefactError
from fewmask.methods.mlmt import tagger
from fewmask.nets.base.published import Header, build, save_model
from fewmask.nets.dsnet.dsnet import Config
from fewmask.prediction.fusion import FusedPredictor, FusionConfig, fuse, kept, pixel_counts
from fewmask.prediction.predictor import Predictor

SMALL = Config(width=0.25, blocks=[1, 1, 1, 1])
TAGGER = tagger.Config(network=SMALL.model_dump())
NAMES = ["background", "cat", "dog"]


@pytest.fixture
def publish(tmp_path: Path) -> Callable[..., Path]:
    """``publish("name", section, class_names=[...])`` -> path of a model file; equal arguments, equal weights."""

    def write(name: str, section, bias: list[float] | None = None, **changes) -> Path:
        fields = {"class_names": NAMES, "mean": [0.5] * 3, "std": [0.2] * 3, "size": [32, 48], **changes}
        classes = len(fields["class_names"])
        torch.manual_seed(0)
        net = build(section, classes)
        if bias is not None:
            net.classify.weight.data.zero_()
            net.classify.bias.data = torch.tensor(bias)
        path = tmp_path / f"{name}.safetensors"
        header = Header(network=section.model_dump(), colours=[[0, 0, 0]] * classes, params={}, provenance={}, **fields)
        save_model(path, net, header)
        return path

    return write


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), np.uint8)


def test_worked_eq_7() -> None:
    """Class 1 has the largest logit and a score below tau; the others share what is left as 1 : e."""
    logits = torch.tensor([0.0, 9.0, 1.0]).view(1, 3, 1, 1)
    keeps = kept(torch.tensor([[0.5, 0.1, 0.9]]), 0.2, None)
    assert keeps.tolist() == [[True, False, True]]
    e = torch.e
    assert fuse(logits, keeps).flatten().tolist() == pytest.approx([1 / (1 + e), 0, e / (1 + e)])


def test_a_score_of_exactly_tau_is_dropped() -> None:
    above = torch.nextafter(torch.tensor(0.2), torch.tensor(1.0)).item()
    assert kept(torch.tensor([[0.2, above, 1.0]]), 0.2, None).tolist() == [[False, True, True]]


def test_the_background_is_never_dropped() -> None:
    assert kept(torch.tensor([[0.9, 0.0, 0.0], [0.0, 0.0, 0.9]]), 0.2, 1)[:, 1].all()


def test_where_no_class_is_found_all_are_kept_in_that_image_alone() -> None:
    keeps = kept(torch.tensor([[0.1, 0.2], [0.1, 0.3]]), 0.2, None)
    assert keeps.tolist() == [[True, True], [False, True]]
    assert kept(torch.zeros(1, 3), 1.0, 0).tolist() == [[True, False, False]]


@pytest.mark.parametrize("background", [None, 2])
def test_a_larger_tau_keeps_no_more_while_any_is_found(background: int | None) -> None:
    scores = torch.rand(50, 4, generator=torch.Generator().manual_seed(0))
    taus = [tau for tau in np.linspace(0, 1, 21).tolist() if background is not None or (scores > tau).any(1).all()]
    keeps = [kept(scores, tau, background) for tau in taus]
    assert len(taus) > 5
    assert all((more | ~less).all() for more, less in pairwise(keeps))


@pytest.mark.parametrize("shift", [-1e30, -1e4, 0.0, 1e4])
def test_a_dropped_class_never_wins_and_probabilities_sum_to_1(shift: float) -> None:
    """However far below it the kept classes are: a dropped logit of 0 would win against negative ones."""
    generator = torch.Generator().manual_seed(0)
    logits, keeps = torch.randn(40, 5, 3, 4, generator=generator), torch.rand(40, 5, generator=generator) > 0.5
    keeps[:, 0] = True
    logits += shift * keeps[:, :, None, None]
    probabilities = fuse(logits, keeps)
    assert keeps.gather(1, probabilities.argmax(1).flatten(1)).all()
    assert (probabilities.amax((2, 3))[~keeps] == 0).all()
    torch.testing.assert_close(probabilities.sum(1), torch.ones(40, 3, 4))


def test_where_all_are_kept_nothing_changes() -> None:
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(fuse(logits, torch.ones(2, 3, dtype=torch.bool)), logits.softmax(1))


def test_pixels_are_counted_by_image() -> None:
    logits = torch.eye(3)[torch.tensor([[[0, 2], [2, 2]], [[1, 1], [1, 1]]])].permute(0, 3, 1, 2)
    assert pixel_counts(logits).tolist() == [[1, 0, 3], [0, 4, 0]]


def test_the_predictor_drops_what_its_tagger_does_not_see(publish, images: np.ndarray) -> None:
    """The tagger sees dogs alone: what the segmentation model calls a cat is background or dog."""
    files = publish("net", SMALL), publish("tagger", TAGGER, bias=[-9.0, -9.0, 9.0])
    alone, fused = Predictor(files[0]), FusedPredictor(*files)
    label, confidence = fused(images)
    assert set(alone(images)[0].unique().tolist()) > set(label.unique().tolist())
    assert set(label.unique().tolist()) <= {0, 2}
    logits = alone.logits(images)[:, [0, 2]]
    assert (label == 2 * logits.argmax(1)).all()
    assert torch.equal(confidence, logits.softmax(1).amax(1))
    assert fused.networks == [fused.model.net, fused.tagger.net]


def test_tau_0_is_the_segmentation_model_alone(publish, images: np.ndarray) -> None:
    files = publish("net", SMALL), publish("tagger", TAGGER)
    for fused, alone in zip(FusedPredictor(*files, tau=0.0)(images), Predictor(files[0])(images), strict=True):
        assert torch.equal(fused, alone)


def test_the_tagger_sees_images_in_its_own_normalisation(publish, images: np.ndarray) -> None:
    files = publish("net", SMALL), publish("tagger", TAGGER, mean=[0.1, 0.2, 0.3], std=[1.0] * 3)
    fused = FusedPredictor(*files)
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    with torch.inference_mode():
        scores = fused.decide(images, fused.logits(images))[0]
        torch.testing.assert_close(scores, fused.tagger.net(x).sigmoid())


def test_a_rule_of_pixels_does_not_run_the_tagger(publish, images: np.ndarray) -> None:
    fused = FusedPredictor(publish("net", SMALL), publish("tagger", TAGGER))
    logits = fused.logits(images)
    counts = pixel_counts(logits)
    fused.pixels, fused.tagger = counts[0].clone(), None  # type: ignore[assignment]
    assert fused.decide(images, logits)[1][0].all()  # as many as the threshold are enough
    fused.pixels = counts[0] + 1
    scores, keeps = fused.decide(images, logits)
    assert torch.equal(scores, counts.float())
    assert keeps[0].tolist() == [True, False, False]  # the background
    assert fused.networks == [fused.model.net]


def test_the_provenance_names_both_networks(publish) -> None:
    fused = FusedPredictor(publish("net", SMALL), publish("tagger", TAGGER))
    assert fused.provenance() == {"model": fused.model.digest, "confidence": None, "tagger": fused.tagger.digest}


def test_files_that_do_not_belong_together_are_refused_by_name(publish) -> None:
    net, other = publish("net", SMALL), publish("tagger", TAGGER)
    with pytest.raises(ArtefactError, match=r"net\.safetensors: holds the network 'dsnet'; expected a tagger"):
        FusedPredictor(net, net)
    with pytest.raises(ArtefactError, match="holds the network 'tagger'; expected a segmentation model"):
        FusedPredictor(other, other)
    found = (
        r"tagger\.safetensors: knows the classes \['background', 'dog', 'cat'\]; .*net\.safetensors has \['b.*\]\. R"
    )
    with pytest.raises(ArtefactError, match=found):
        FusedPredictor(net, publish("tagger", TAGGER, class_names=["background", "dog", "cat"]))
    with pytest.raises(ArtefactError, match=r"was trained at \[32, 32\]; .*net\.safetensors at \[32, 48\]"):
        FusedPredictor(net, publish("tagger", TAGGER, size=[32, 32]))


def test_the_default_is_the_paper_s() -> None:
    config = FusionConfig()
    assert (config.rule, config.tau) == ("scores", 0.2)
    assert config.pixels == [1000 * number for number in range(1, 13)]


@pytest.mark.parametrize("wrong", [{"tau": 1.1}, {"tau": -0.1}, {"rule": "pixel"}, {"pixels": []}, {"pixels": [-1]}])
def test_a_bad_section_is_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        FusionConfig(**wrong)
