"""A class that a fused network does not find in an image is not painted there, whatever its logits."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fewmask.costs.macs import gmacs
from fewmask.fusion.fused import Config, Fused, Rule, build, kept, masked, pixel_counts
from fewmask.methods.mlmt import tagger
from fewmask.nets.base.published import Header, load_model, save_model
from fewmask.nets.dsnet import dsnet

SMALL = dsnet.Config(width=0.25, blocks=[1, 1, 1, 1]).model_dump()
SCORES = Config(network=SMALL, tagger=tagger.Config(network=SMALL), thresholds=[None, 0.5, 0.5])
PIXELS = Config(network=SMALL, thresholds=[None, 300, 1])


def fused(section: Config) -> Fused:
    """Equal weights for equal sections."""
    torch.manual_seed(0)
    return build(section, 3).eval().to(memory_format=torch.channels_last)


@pytest.fixture
def x() -> Tensor:
    return torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))


def segmented(net: Fused, x: Tensor) -> Tensor:
    """The logits that the rule sees."""
    return super(Fused, net).forward(x)


def test_worked_eq_7() -> None:
    """Class 1 has the largest logit and a score below tau; the others share what is left as 1 : e."""
    logits = torch.tensor([0.0, 9.0, 1.0]).view(1, 3, 1, 1)
    keeps = kept(torch.tensor([[0.5, 0.1, 0.9]]), 0.2)
    assert keeps.tolist() == [[True, False, True]]
    e = torch.e
    assert masked(logits, keeps).softmax(1).flatten().tolist() == pytest.approx([1 / (1 + e), 0, e / (1 + e)])


def test_a_score_of_exactly_tau_is_dropped_and_as_many_pixels_as_the_threshold_are_kept() -> None:
    above = torch.nextafter(torch.tensor(0.2), torch.tensor(1.0)).item()
    by_scores, by_pixels = Rule(nn.Identity(), [0.2, 0.2]), Rule(None, [7, 7])
    assert kept(torch.tensor([[0.2, above]]), by_scores.bounds).tolist() == [[False, True]]
    assert kept(torch.tensor([[6, 7]]), by_pixels.bounds).tolist() == [[False, True]]


@pytest.mark.parametrize("rule", [Rule(nn.Identity(), [1.0, None]), Rule(None, [9, None])])
def test_a_class_without_a_threshold_is_never_dropped(rule: Rule) -> None:
    assert kept(torch.tensor([[0.5, 0.0], [0.0, 0.0]]), rule.bounds).tolist() == [[False, True]] * 2


def test_where_no_class_is_found_all_are_kept_in_that_image_alone() -> None:
    assert kept(torch.tensor([[0.1, 0.2], [0.1, 0.3]]), 0.2).tolist() == [[True, True], [False, True]]


def test_a_larger_tau_keeps_no_more_while_any_is_found() -> None:
    scores = torch.rand(50, 4, generator=torch.Generator().manual_seed(0))
    taus = [tau for tau in np.linspace(0, 1, 21).tolist() if (scores > tau).any(1).all()]
    assert len(taus) > 5
    assert all((more | ~less).all() for more, less in pairwise(kept(scores, tau) for tau in taus))


@pytest.mark.parametrize("shift", [-1e30, -1e4, 0.0, 1e4])
def test_a_dropped_class_never_wins_and_probabilities_sum_to_1(shift: float) -> None:
    """However far below it the kept classes are: a dropped logit of 0 would win against negative ones."""
    generator = torch.Generator().manual_seed(0)
    logits, keeps = torch.randn(40, 5, 3, 4, generator=generator), torch.rand(40, 5, generator=generator) > 0.5
    keeps[:, 0] = True
    logits += shift * keeps[:, :, None, None]
    probabilities = masked(logits, keeps).softmax(1)
    assert keeps.gather(1, probabilities.argmax(1).flatten(1)).all()
    assert (probabilities.amax((2, 3))[~keeps] == 0).all()
    torch.testing.assert_close(probabilities.sum(1), torch.ones(40, 3, 4))


def test_pixels_are_counted_by_image() -> None:
    logits = torch.eye(3)[torch.tensor([[[0, 2], [2, 2]], [[1, 1], [1, 1]]])].permute(0, 3, 1, 2)
    assert pixel_counts(logits).tolist() == [[1, 0, 3], [0, 4, 0]]


@torch.no_grad()
def test_the_network_drops_what_its_tagger_does_not_see(x: Tensor) -> None:
    net = fused(SCORES)
    net.rule.tagger.classify.weight.zero_()
    net.rule.tagger.classify.bias.copy_(torch.tensor([-9.0, -9.0, 9.0]))
    found, logits = net(x), segmented(net, x)
    assert (found[:, 1] == -torch.inf).all()
    assert torch.equal(found[:, [0, 2]], logits[:, [0, 2]])


@torch.no_grad()
def test_thresholds_of_0_are_the_segmentation_network_alone(x: Tensor) -> None:
    for section in (SCORES, PIXELS):
        net = fused(section.model_copy(update={"thresholds": [0, 0, 0]}))
        assert torch.equal(net(x), segmented(net, x))


@torch.no_grad()
def test_a_rule_of_pixels_drops_what_wins_too_few(x: Tensor) -> None:
    net = fused(PIXELS)
    logits = segmented(net, x)
    counts = pixel_counts(logits)
    assert torch.equal(net.rule(x, logits)[0], counts)
    net.rule.bounds = counts.amin(0)
    expected = counts > counts.amin(0)
    assert expected.any(1).all() and not expected.all()
    assert torch.equal((net(x) > -torch.inf).all((2, 3)), expected)


@pytest.mark.parametrize("section", [SCORES, PIXELS], ids=["scores", "pixels"])
def test_a_published_network_decides_as_it_did(tmp_path: Path, x: Tensor, section: Config) -> None:
    net = fused(section)
    fields = {"class_names": ["background", "cat", "dog"], "colours": [[0, 0, 0]] * 3, "size": [32, 48]}
    header = Header(section.model_dump(mode="json"), mean=[0.5] * 3, std=[0.2] * 3, params={}, provenance={}, **fields)
    save_model(tmp_path / "fused.safetensors", net, header)
    back = load_model(tmp_path / "fused.safetensors").net
    with torch.no_grad():
        logits = segmented(net, x)
        assert torch.equal(back.rule(x, logits)[1], net.rule(x, logits)[1])
        assert torch.equal(back(x), net(x))


def test_a_rule_of_pixels_costs_nothing_and_a_tagger_what_it_costs_alone() -> None:
    by_scores, by_pixels = fused(SCORES), fused(PIXELS)
    alone = gmacs(dsnet.build(dsnet.Config(**SMALL), 3), (32, 48))
    assert gmacs(by_pixels, (32, 48)) == alone
    assert gmacs(by_scores, (32, 48)) == pytest.approx(alone + gmacs(by_scores.rule.tagger, (32, 48)))
