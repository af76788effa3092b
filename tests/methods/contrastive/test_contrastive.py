"""The contrastive learner: its terms by hand, what enters the memory, and each switch between paper and code."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from fewmask.consistency.augment import StrongAugment, WeakAugment
from fewmask.consistency.classmix import Views
from fewmask.learning.learner import Batch, LabelledData, PixelCounts, Task
from fewmask.learning.losses import cross_entropy
from fewmask.methods.contrastive.contrastive import Config, Contrastive, decay_at, entropy, pseudo_loss
from fewmask.methods.contrastive.pixels import nearest
from fewmask.nets.base.normalise import Normalise
from fewmask.nets.base.weights import IMAGENET
from fewmask.nets.dsnet.dsnet import Config as DSNet
from fewmask.nets.dsnet.dsnet import build

NETWORK = DSNet(width=0.25, blocks=[1, 1, 1, 1])
STILL = {"flip": 0, "resize": 0, "jitter": 0, "brightness": 0, "contrast": 0, "saturation": 0, "hue": 0, "blur": 0}
STILL |= {"mix": 0}
SMALL = {"channels": 8, "memory": 6, "confidence": 0.0}


class Data(LabelledData):
    """Of three classes the last is never seen."""

    counts = PixelCounts(np.array([300, 100, 0]), 500, np.array([400, 400, 0]))
    labelled_images, unlabelled_images = 4, 10


def learner(contrast=None, **changes) -> Contrastive:
    torch.manual_seed(0)
    raw = {"steps": 100, "batch": 2, "unlabelled": 2, "batch_norm": "trained", "warm_up": 10}
    raw |= {"optimiser": {"lr": 0.1}, "weak": STILL, "strong": STILL, "contrast": SMALL | (contrast or {}), **changes}
    task = Task(["a", "b", "c"], NETWORK.model_dump(), lambda: build(NETWORK, 3), Normalise(*IMAGENET))
    made = Contrastive(Config.model_validate(raw), task)
    made.train()
    made.begin(Data())
    return made


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(4, 3, 32, 48, generator=generator)
    y = torch.randint(0, 2, (2, 4, 6), generator=generator).repeat_interleave(8, 1).repeat_interleave(8, 2)
    return Batch(x[:2], y, x[2:])


def run(made: Contrastive, batch: Batch, t: float) -> dict[str, torch.Tensor]:
    """One step, without an optimiser; its logged terms and the loss."""
    (update,) = made.step(batch, t)
    return update.terms | {"loss": update.loss}


def learn(made: Contrastive, batch: Batch, t: float) -> torch.Tensor:
    """The loss of one step, with gradients, as the loop asks for them: before the step goes on."""
    loss = next(made.step(batch, t)).loss
    loss.backward()
    return loss


def fill(made: Contrastive, batch: Batch) -> None:
    """Fill the memory by a few steps of labelled images whose predictions are declared right."""
    for _ in range(4):
        with torch.no_grad():
            labels = made.teacher(batch.x_l)[1].argmax(1)
        run(made, replace(batch, y_l=labels), 0.5)


# ---- the terms


def test_pseudo_loss_divides_by_all_pixels():
    """Pixels: -log .5 with confidence 1 and weight 2; -log .25 with confidence .5 and weight 3; two ignored ones."""
    logs = torch.tensor([[0.5, 0.5], [0.75, 0.25], [0.9, 0.1], [0.9, 0.1]]).log().t().view(1, 2, 2, 2)
    labels = torch.tensor([[[0, 1], [255, 255]]])
    confidence = torch.tensor([[[1.0, 0.5], [1.0, 0.0]]])
    found = pseudo_loss(logs, labels, confidence, torch.tensor([2.0, 3.0]))
    assert found.item() == pytest.approx((2 * math.log(2) + 3 * 0.5 * math.log(4)) / 4)
    assert pseudo_loss(logs, labels, confidence, None).item() == pytest.approx((math.log(2) + 0.5 * math.log(4)) / 4)


def test_entropy_is_one_of_an_even_distribution_or_ln_c():
    even, sure = torch.full((1, 3, 1, 2), 1 / 3).log(), torch.tensor([1.0, 1e-30, 1e-30]).log().view(1, 3, 1, 1)
    labels = torch.zeros(1, 1, 2, dtype=torch.long)
    assert entropy(even, labels, True).item() == pytest.approx(1)
    assert entropy(even, labels, False).item() == pytest.approx(math.log(3))
    assert entropy(sure, labels[..., :1], True).item() == pytest.approx(0, abs=1e-6)
    half = torch.cat([even[..., :1], sure], 3)
    assert entropy(half, torch.tensor([[[0, 255]]]), True).item() == pytest.approx(1)  # ignored: not in the mean
    assert entropy(half, torch.full((1, 1, 2), 255), True).item() == 0


def test_decay_begins_as_a_copy_and_follows_a_cosine():
    assert decay_at(0, 0.0, "cosine") == 0
    assert decay_at(1, 1e-5, "cosine") == pytest.approx(10 / 11)
    assert decay_at(100, 1e-3, "cosine") == pytest.approx(0.995, abs=1e-5)
    assert decay_at(40000, 0.5, "cosine") == pytest.approx(0.9975)
    assert decay_at(80000, 1.0, "cosine") == pytest.approx(1, abs=1e-5)
    assert decay_at(80000, 1.0, 0.997) == 0.997
    assert decay_at(1, 1e-5, 0.997) == pytest.approx(10 / 11)


def test_the_loss_is_the_weighted_sum_of_its_terms(batch):
    """(1), at the end of the warm-up, when everything counts, and at its half, when pseudo-labels weigh exp(-5/4)."""
    made = learner(lambda_pseudo=0.7, lambda_ent=0.2, lambda_contr=0.3)
    fill(made, batch)
    terms = run(made, batch, 0.5)
    assert terms["contr"] > 0
    expected = terms["sup"] + 0.7 * terms["pseudo"] + 0.2 * terms["ent"] + 0.3 * terms["contr"]
    assert terms["loss"].item() == pytest.approx(expected.item())
    early = run(made, batch, 0.05)
    assert "contr" not in early
    expected = early["sup"] + 0.7 * math.exp(-1.25) * early["pseudo"] + 0.2 * early["ent"]
    assert early["loss"].item() == pytest.approx(expected.item())


@pytest.mark.parametrize(("kind", "weight"), [("exponential", math.exp(-1.25)), ("step", 0.0)])
def test_the_ramp_is_the_one_that_is_asked_for(batch, kind, weight):
    terms = run(learner(pseudo_ramp=kind), batch, 0.05)
    expected = terms["sup"] + weight * terms["pseudo"] + 0.01 * terms["ent"]
    assert terms["loss"].item() == pytest.approx(expected.item())


@pytest.mark.parametrize(("kind", "normalised"), [("normalised", True), ("nats", False)])
def test_the_entropy_is_the_one_that_is_asked_for(batch, kind, normalised):
    found = run(learner(entropy=kind), batch, 0.0)["ent"]
    logits = learner().student(batch.x_u.repeat(2, 1, 1, 1))[1]
    labels = torch.zeros(4, 32, 48, dtype=torch.long)
    assert found.item() == pytest.approx(entropy(logits.log_softmax(1), labels, normalised).item(), rel=1e-5)


@pytest.mark.parametrize(("kind", "t"), [("cosine", 0.5), (0.25, 0.5), ("cosine", 0.0)])
def test_the_teacher_moves_last_and_as_the_decay_says(batch, kind, t):
    """(2), after the update and after the memory has been filled; at first the teacher is the student."""
    made = learner(decay=kind)
    name = "net.head.out.bias"
    teacher, student = (dict(part.named_parameters())[name] for part in (made.teacher.net, made.student))
    updates = made.step(batch, t)
    next(updates)
    with torch.no_grad():
        student += 1  # what an optimiser does
    before = teacher.clone()
    assert next(updates, None) is None
    decay = decay_at(round(100 * t), t, kind)
    torch.testing.assert_close(teacher, decay * before + (1 - decay) * student)
    assert not torch.equal(teacher, before)


@pytest.mark.parametrize(("t", "weighted"), [(0.1, False), (0.11, True)])
def test_class_weights_and_contrast_begin_after_the_warm_up(batch, t, weighted):
    """The 11th step is the first; both cross-entropies are weighted."""
    made, twin = learner(), learner()
    fill(made, batch)
    twin.load_state_dict(made.state_dict())
    terms = run(made, batch, t)
    assert ("contr" in terms) is weighted
    confidence, labels = (part.repeat(2, 1, 1) for part in twin.teacher(batch.x_u)[1].softmax(1).max(1))
    twin._count(labels[:2])
    weights = twin.class_weights(11) if weighted else None
    logs = twin.student(batch.x_u.repeat(2, 1, 1, 1))[1].log_softmax(1)
    assert terms["pseudo"].item() == pytest.approx(pseudo_loss(logs, labels, confidence**6, weights).item(), rel=1e-4)
    logits = twin.student(batch.x_l)[1]
    assert terms["sup"].item() == pytest.approx(cross_entropy(logits, batch.y_l, weights).item(), rel=1e-4)


def test_unlabelled_and_labelled_pixels_are_contrasted(batch, monkeypatch):
    made, found = learner(lambda_contr=1.0), []
    fill(made, batch)
    monkeypatch.setattr(
        made.student,
        "contrast",
        lambda v, y, memory, f=made.student.contrast: found.append(f(v, y, memory)) or found[-1],
    )
    terms = run(made, batch, 0.5)
    assert len(found) == 2
    assert terms["contr"].item() == pytest.approx(sum(found).item())
    assert all(each > 0 for each in found)


def test_without_its_lambdas_it_is_supervised_training(batch):
    made = learner(lambda_pseudo=0, lambda_ent=0, lambda_contr=0)
    twin = learner(lambda_pseudo=0, lambda_ent=0, lambda_contr=0)
    found = run(made, replace(batch, x_u=batch.x_u * torch.nan), 0.05)
    assert list(found) == ["sup", "loss"]
    expected = cross_entropy(twin.student(batch.x_l)[1], batch.y_l)
    assert found["loss"].item() == expected.item()


def test_pseudo_labels_are_the_teacher_s_of_the_image_itself(batch, monkeypatch):
    """(5), (6): confidence to the power of the sharpening; A views of each image; batch norm apart from labelled."""
    made, seen = learner(augmentations=3, sharpening=2.0), []
    monkeypatch.setattr(made.student, "forward", lambda x, f=made.student.forward: seen.append(x) or f(x))
    probabilities = learner().teacher(batch.x_u)[1].softmax(1)
    terms = run(made, batch, 0.0)
    assert [len(x) for x in seen] == [6, 2]
    assert torch.equal(seen[0], batch.x_u.repeat(3, 1, 1, 1))
    twin = learner()
    logs = twin.student(batch.x_u.repeat(3, 1, 1, 1))[1].log_softmax(1)
    confidence, labels = (part.repeat(3, 1, 1) for part in probabilities.max(1))
    assert terms["pseudo"].item() == pytest.approx(pseudo_loss(logs, labels, confidence**2, None).item(), rel=1e-5)


def test_views_are_drawn_by_their_own_sets(batch, monkeypatch):
    """Labelled images by `weak`, the others by `strong`; the teacher sees neither, but for the memory."""
    import fewmask.methods.contrastive.contrastive as module

    calls = []
    original = module.augment
    monkeypatch.setattr(
        module, "augment", lambda config, x, *rest: calls.append((config, len(x))) or original(config, x, *rest)
    )
    made = learner(strong=STILL | {"flip": 1.0})
    run(made, batch, 0.0)
    assert calls == [(made.config.weak, 2), (made.config.strong, 4)]


# ---- class weights


def test_class_weights_are_those_of_median_frequency(batch):
    made = learner()
    assert made.class_weights(10) is None
    assert learner(class_weights="none").class_weights(11) is None
    assert made.labelled_area.tolist() == pytest.approx([2.4, 0.8, 0])  # of four images, a fifth of them void
    assert made.class_weights(11).tolist() == pytest.approx([(1.6 / 2.4) ** 0.5, 2**0.5, 2**0.5])
    made.pseudo_area.copy_(torch.tensor([0.0, 2.4, 0.4]))
    assert made.class_weights(11).tolist() == pytest.approx(
        [(2.8 / 2.4) ** 0.5, (2.8 / 3.2) ** 0.5, (2.8 / 2.4) ** 0.5]
    )
    labels = learner(class_weights="labels")
    labels.pseudo_area.copy_(made.pseudo_area)
    assert labels.class_weights(11).tolist() == pytest.approx([(1.6 / 2.4) ** 0.5, 2**0.5, 2**0.5])


def test_a_class_in_no_mask_never_outweighs_those_that_are(batch):
    """A few pixels that the teacher once took for it are forgotten, but never quite."""
    made = learner()
    first = torch.zeros(2, 10, 10, dtype=torch.long)
    first[0, 0, :3] = 2
    made._count(first)
    for _ in range(2000):
        made._count(torch.zeros(2, 10, 10, dtype=torch.long))
    weights = made.class_weights(11)
    assert weights[2] == weights[:2].max()
    assert weights.max() < 4


def test_pseudo_labels_are_counted_for_about_one_visit_of_all(batch):
    """10 unlabelled images, 2 a step: a step keeps four fifths of what was counted before."""
    made = learner()
    made._count(torch.zeros(2, 4, 4, dtype=torch.long))
    made._count(torch.ones(2, 4, 4, dtype=torch.long))
    assert made.pseudo_area.tolist() == pytest.approx([2 * 0.8, 2, 0])
    run(made, batch, 0.0)  # images of another size count as much
    assert made.pseudo_area.sum() == pytest.approx((2 * 0.8 + 2) * 0.8 + 2)


def test_source_images_do_not_count(batch):
    made = learner()
    run(made, replace(batch, source=True), 0.0)
    assert made.pseudo_area.sum() == 0


# ---- the memory


@pytest.mark.parametrize(("t", "fills"), [(0.05, False), (0.06, True)])
def test_the_memory_fills_from_half_of_the_warm_up(batch, t, fills):
    made = learner()
    with torch.no_grad():
        labels = made.teacher(batch.x_l)[1].argmax(1)
    run(made, replace(batch, y_l=labels), t)
    assert bool(made.memory.filled.sum()) is fills


def test_the_memory_never_sees_the_source_domain(batch):
    made = learner()
    with torch.no_grad():
        labels = made.teacher(batch.x_l)[1].argmax(1)
    batch = replace(batch, y_l=labels)
    for _ in range(3):
        terms = run(made, replace(batch, source=True), 0.5)
    assert made.memory.filled.sum() == 0
    run(made, batch, 0.5)
    assert made.memory.filled.sum() > 0
    before = made.memory.vectors.clone()
    terms = run(made, replace(batch, source=True), 0.5)
    assert torch.equal(made.memory.vectors, before)
    assert terms["contr"] > 0  # its features are drawn towards the target's all the same


def filtered(confidence: float, labels: list[int], logits: list[list[float]]) -> list[int]:
    """How many vectors of each class enter from four pixels with these logits."""
    made = learner({"confidence": confidence, "keep": 9})
    pixels = made.teacher.net
    maps = torch.tensor(logits).t().view(1, 3, 1, 4)
    pixels.forward = lambda x: (torch.randn(1, pixels.net.head.channels, 1, 4), maps)
    views = Views(torch.zeros(1, 3, 1, 4), torch.tensor(labels).view(1, 1, 4), torch.ones(1, 1, 4))
    pixels.remember(views, made.memory, 9)
    return made.memory.filled.tolist()


SURE, UNSURE = [9.0, 0, 0], [1.0, 0, 0]  # 0.9998 and 0.58


def test_only_right_and_sure_pixels_enter():
    """The feature quality filter: predicted is the label, with a probability above phi."""
    assert filtered(0.95, [0, 0, 0, 0], [SURE, SURE, UNSURE, SURE]) == [3, 0, 0]
    assert filtered(0.5, [0, 0, 0, 0], [SURE, SURE, UNSURE, SURE]) == [4, 0, 0]
    assert filtered(0.5, [0, 1, 255, 0], [SURE, SURE, SURE, UNSURE]) == [2, 0, 0]


def test_as_many_enter_as_there_are_images_times_what_is_kept(batch, monkeypatch):
    made, counts = learner({"keep": 3}), []
    monkeypatch.setattr(made.memory, "push", lambda vectors, labels, scores, count: counts.append(count))
    fill(made, batch)
    assert counts == [6] * 4


def test_crops_alone_come_from_the_loader():
    """Whatever is given of `views`: flips and scales are those of the sets of Table 1."""
    for views in ({}, {"crop": [32, 32]}):
        found = learner(views=views).config.views
        assert (found.flip, found.shift, found.scales) == (0, 0, [1.0])


def test_the_memory_takes_the_teacher_s_features_of_the_augmented_images(batch, monkeypatch):
    seen = []
    made = learner(weak=STILL | {"flip": 1.0})
    monkeypatch.setattr(made.teacher.net, "remember", lambda views, memory, count: seen.append(views))
    monkeypatch.setattr(made.student, "remember", None)
    run(made, batch, 0.5)
    assert torch.equal(seen[0].x, batch.x_l.flip(3))
    assert torch.equal(seen[0].labels, batch.y_l.flip(2))


def test_maps_are_taken_at_the_middle_of_a_feature_s_pixels():
    maps = torch.arange(48).view(1, 6, 8)
    assert nearest(maps, torch.zeros(1, 1, 2, 2)).tolist() == [[[10, 14], [34, 38]]]
    assert torch.equal(nearest(maps, torch.zeros(1, 1, 6, 8)), maps)


def test_one_survivor_of_the_filter_or_none_is_left_out():
    assert filtered(0.95, [0, 1, 1, 1], [SURE] * 4) == [0, 0, 0]
    assert filtered(0.95, [1, 1, 1, 1], [SURE] * 4) == [0, 0, 0]


def ranked_by(rank: str) -> set[int]:
    """Which two of 12 pixels of a class enter the memory."""
    made = learner({"rank": rank, "keep": 2})
    pixels = made.teacher.net
    features = torch.randn(1, pixels.net.head.channels, 1, 12, generator=torch.Generator().manual_seed(3))
    pixels.forward = lambda x: (features, torch.tensor(SURE).view(1, 3, 1, 1).expand(1, 3, 1, 12))
    views = Views(torch.zeros(1, 3, 1, 12), torch.zeros(1, 1, 12, dtype=torch.long), torch.ones(1, 1, 12))
    torch.manual_seed(5)
    pixels.remember(views, made.memory, 2)
    with torch.no_grad():
        vectors = torch.nn.functional.normalize(pixels.project(features[0, :, 0].t()), dim=1)
    return {int((vectors @ found).argmax()) for found in made.memory.vectors[0, :2]}


def by_hand(attention: str, unit: bool, highest: bool) -> set[int]:
    """The two best of the same 12 pixels, by one class's module written out."""
    pixels = learner().teacher.net
    features = torch.randn(1, pixels.net.head.channels, 1, 12, generator=torch.Generator().manual_seed(3))
    module = getattr(pixels, attention)
    with torch.no_grad():
        x = pixels.project(features[0, :, 0].t())
        hidden = (torch.nn.functional.normalize(x, dim=1) if unit else x) @ module.inner[0]
        hidden = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + 1e-5).sqrt()
        scores = torch.nn.functional.leaky_relu(hidden, 0.2) @ module.outer[0] + module.bias[0]
    return set(scores.topk(2, largest=highest).indices.tolist())


def test_the_rank_is_the_memory_s_attention_s_or_another():
    assert ranked_by("highest") == by_hand("memory_attention", unit=True, highest=True)
    assert ranked_by("legacy_lowest") == by_hand("attention", unit=False, highest=False)
    torch.manual_seed(5)
    at_random = set(torch.rand(12).topk(2).indices.tolist())
    assert ranked_by("random") == at_random
    assert len({frozenset(ranked_by(rank)) for rank in ("highest", "legacy_lowest", "random")}) == 3


@pytest.mark.parametrize(("images", "kept"), [(100, 3), (212, 1), (372, 1), (10582, 1), (25, 10), (1, 256)])
def test_how_many_enter_for_each_image(images, kept):
    made = learner({"memory": 256})
    made.images[0] = images
    assert made._kept == kept
    made = learner({"memory": 256, "keep": 7})
    assert made._kept == 7


@pytest.mark.parametrize(("memory_attention", "learns"), [("paper", True), ("ones", False)])
def test_the_memory_s_attention_learns_only_where_it_weighs(batch, memory_attention, learns):
    made = learner({"memory_attention": memory_attention})
    fill(made, batch)
    learn(made, batch, 0.5)
    gradients = [p.grad for p in made.student.memory_attention.parameters()]
    assert any(g is not None and g.abs().sum() > 0 for g in gradients) is learns
    assert made.student.attention.inner.grad.abs().sum() > 0
    assert made.student.predict[0].weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in made.teacher.parameters())


@pytest.mark.parametrize(("kind", "unit"), [("unit", True), ("raw", False), (None, True)])
def test_the_attention_sees_unit_vectors_or_raw_ones(batch, monkeypatch, kind, unit):
    import fewmask.methods.contrastive.pixels as module

    asked, original = [], module.contrastive_loss
    monkeypatch.setattr(
        module, "contrastive_loss", lambda *args, unit: asked.append(unit) or original(*args, unit=unit)
    )
    made = learner({"attention_input": kind} if kind else {})
    fill(made, batch)
    asked.clear()
    run(made, batch, 0.5)
    assert asked == [unit, unit]  # unlabelled and labelled pixels


def test_as_many_pixels_of_a_class_as_are_wanted(batch, monkeypatch):
    import fewmask.methods.contrastive.pixels as module

    counts = []
    original = module.contrastive_loss
    monkeypatch.setattr(
        module,
        "contrastive_loss",
        lambda p, labels, *rest, **more: (
            counts.append(labels.bincount(minlength=3).max().item()) or original(p, labels, *rest, **more)
        ),
    )
    for limit, expected in ((None, False), (5, True)):
        made = learner({"max_pixels_per_class": limit})
        fill(made, batch)
        counts.clear()
        run(made, batch, 0.5)
        assert len(counts) == 2
        assert all((count <= 5) is expected for count in counts)


# ---- what must not break it


@pytest.mark.parametrize("label", [255, 1])
def test_labels_of_nothing_or_of_one_class_train_all_the_same(batch, label):
    made = learner()
    fill(made, batch)
    assert torch.isfinite(learn(made, replace(batch, y_l=torch.full_like(batch.y_l, label)), 0.5))
    assert all(torch.isfinite(p.grad).all() for p in made.student.parameters() if p.grad is not None)


def test_the_memory_of_a_class_that_is_never_seen_stays_empty(batch):
    made = learner()
    for _ in range(6):
        with torch.no_grad():
            labels = made.teacher(batch.x_l)[1][:, :2].argmax(1)
        run(made, replace(batch, y_l=labels), 0.5)
    assert made.memory.filled[2] == 0
    assert made.memory.filled[:2].sum() > 0


def test_padding_of_an_unlabelled_view_is_no_target(batch):
    """It has no label, no entropy and no area: as if the views ended there."""
    shown = torch.ones(2, 32, 48, dtype=torch.bool)
    shown[:, :, 24:] = False
    made, twin = learner(augmentations=1), learner()
    terms = run(made, replace(batch, shown_u=shown), 0.0)
    confidence, labels = (part[..., :24] for part in twin.teacher(batch.x_u)[1].softmax(1).max(1))
    logs = twin.student(batch.x_u)[1].log_softmax(1)[..., :24]
    pseudo = pseudo_loss(logs, labels, confidence**6, None) / 2  # all pixels are in its denominator
    assert terms["pseudo"].item() == pytest.approx(pseudo.item(), rel=1e-5)
    assert terms["ent"].item() == pytest.approx(entropy(logs, labels, True).item(), rel=1e-5)
    assert made.pseudo_area.sum().item() == pytest.approx(0.5 * 2)


# ---- the control


def test_without_unlabelled_images_the_labelled_half_of_the_terms_stays(batch):
    made, twin = learner(lambda_contr=0.3), learner(lambda_contr=0.3)
    fill(made, batch)
    twin.load_state_dict(made.state_dict())
    terms = run(made, replace(batch, x_u=batch.x_u[:0]), 0.5)
    features, logits = twin.student(batch.x_l)
    contr = twin.student.contrast(features, batch.y_l, twin.memory)
    sup = cross_entropy(logits, batch.y_l, twin.class_weights(50))
    assert set(terms) == {"sup", "contr", "memory", "loss"}
    assert terms["loss"].item() == pytest.approx((sup + 0.3 * contr).item(), rel=1e-5)
    assert contr > 0


# ---- what is published


@pytest.mark.parametrize(("source", "moves"), [(False, True), (True, False)])
def test_the_student_s_statistics_are_of_weak_views_of_the_target(batch, source, moves):
    made, twin = learner(strong=STILL | {"jitter": 1.0, "brightness": 1.0}), learner()
    run(made, replace(batch, source=source), 0.0)
    if moves:
        twin.student(batch.x_l)
    found, expected = made.result()[1].state_dict(), twin.result()[1].state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize("lambdas", [{}, {"lambda_pseudo": 0, "lambda_ent": 0, "lambda_contr": 0}])
def test_a_published_teacher_has_statistics_whoever_it_labels(batch, lambdas):
    """As where there is nobody to label."""
    made = learner(publish="teacher", **lambdas)
    before = {name: value.clone() for name, value in made.result()[1].state_dict().items()}
    run(made, replace(batch, x_u=batch.x_u[:0]), 0.0)
    moved = [name for name, value in made.result()[1].state_dict().items() if not torch.equal(value, before[name])]
    assert any(name.endswith("running_mean") for name in moved)


@pytest.mark.parametrize("publish", ["student", "teacher"])
def test_what_is_published(batch, publish):
    made = learner(publish=publish)
    with torch.no_grad():
        made.teacher.net.net.head.out.bias += 1
    expected = made.teacher.net.net if publish == "teacher" else made.student.net
    assert made.result()[1] is expected


def test_defaults_are_the_paper_s_or_where_the_sheet_says_so_the_code_s():
    config = Config.model_validate({"steps": 80000, "batch": 5, "unlabelled": 2, "optimiser": {"lr": 2e-4}})
    assert (config.lambda_pseudo, config.lambda_ent, config.lambda_contr) == (1, 0.01, 0.1)
    assert (config.warm_up, config.sharpening, config.augmentations, config.batch_norm) == (2000, 6, 2, "statistics")
    contrast = config.contrast
    assert (contrast.channels, contrast.memory, contrast.confidence) == (256, 256, 0.95)
    assert (contrast.memory_attention, contrast.rank, contrast.max_pixels_per_class) == ("paper", "highest", None)
    assert (config.pseudo_ramp, config.entropy, config.decay) == ("exponential", "normalised", "cosine")
    assert (config.class_weights, config.publish, config.begin_with) == ("median", "student", "weights")
    assert (contrast.attention_input, contrast.keep, config.source, config.source_until) == ("unit", None, 0, 1)
    assert (config.weak, config.strong) == (WeakAugment(), StrongAugment())


def test_a_set_of_views_can_be_given_in_part():
    config = learner(weak={"mix": 0}, strong={"background": False}).config
    assert config.weak == WeakAugment(mix=0)
    assert config.strong == StrongAugment(background=False)


def test_a_warm_up_that_never_ends_is_refused():
    with pytest.raises(ValidationError, match="warm_up 100 is not below steps 100, so that the contrast would never"):
        learner(warm_up=100)
    assert learner(warm_up=100, lambda_contr=0).config.warm_up == 100
