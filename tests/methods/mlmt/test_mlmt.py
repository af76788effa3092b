"""MLMT: both terms by hand, the ramp, the teacher, and the options of its encoder."""

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from fewmask.learning.learner import Batch, Task
from fewmask.methods.mlmt import mlmt
from fewmask.methods.mlmt.mlmt import MLMT, Config, mirrored
from fewmask.nets.base.normalise import Normalise
from fewmask.nets.base.weights import CAFFE, IMAGENET
from fewmask.nets.dsnet.dsnet import Config as DSNet
from fewmask.nets.dsnet.dsnet import build

NETWORK = DSNet(width=0.25, blocks=[1, 1, 1, 1])
STILL = {"flip": 0, "jitter": 0, "blur": 0}


def learner(scale=IMAGENET, **changes) -> MLMT:
    torch.manual_seed(0)
    raw = {"steps": 100, "batch": 2, "unlabelled": 3, "optimiser": {"lr": 0.1}, "strong": STILL, **changes}
    task = Task(["a", "b", "c"], NETWORK.model_dump(), lambda: build(NETWORK, 3), Normalise(*scale))
    return MLMT(Config.model_validate(raw), task).train()


@pytest.fixture
def batch() -> Batch:
    x = torch.randn(5, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    x = torch.cat([x[..., :24], x[..., :24].flip(3)], 3)  # each is its own mirror image
    z = torch.tensor([[1.0, 0, 1], [0, 0, 1]])
    return Batch(x[:2], torch.full((2, 32, 48), 255), x[2:], z_l=z)


@pytest.fixture
def asymmetric() -> Batch:
    """No image is its own mirror image."""
    x = torch.randn(5, 3, 32, 48, generator=torch.Generator().manual_seed(2))
    return Batch(x[:2], torch.full((2, 32, 48), 255), x[2:], z_l=torch.tensor([[1.0, 0, 1], [0, 0, 1]]))


def inputs_of(module: torch.nn.Module) -> list[torch.Tensor]:
    """A list that grows by what ``module`` is shown."""
    seen: list[torch.Tensor] = []
    module.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    return seen


def test_the_defaults_are_those_of_the_paper_and_its_code():
    config = Config.model_validate({"steps": 1, "batch": 1, "unlabelled": 1, "optimiser": {"lr": 0.1}})
    assert (config.decay, config.lambda_cons, config.ramp) == (0.999, 1.0, (0.1, 0.6))
    assert (config.consistency, config.publish, config.encoder, config.size) == ("cosine", "teacher", None, None)
    strong = config.strong
    assert (strong.jitter, strong.brightness, strong.contrast, strong.saturation, strong.hue) == (1, 0.4, 0.4, 0.4, 0.1)
    assert (strong.blur, strong.sigma, strong.flip, strong.resize, strong.mix) == (1, (0.1, 2.0), 0.5, 0, 0)
    assert (config.views.flip, config.views.shift, config.views.crop) == (0.5, 0, None)


def logits(made: MLMT, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Of a fresh learner's network, in training mode: of the labelled and of the unlabelled images."""
    return made.student(batch.x_l), made.student(batch.x_u)


def test_classification_is_binary_cross_entropy_of_each_class(batch):
    made = learner()
    update = next(made.step(batch, 0.0))
    scores = logits(learner(), batch)[0].sigmoid()
    expected = -(batch.z_l * scores.log() + (1 - batch.z_l) * (1 - scores).log()).mean()
    assert update.terms["cls"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert update.loss.item() == update.terms["cls"].item()  # the ramp has not begun


@pytest.mark.parametrize(("t", "weight"), [(0.1, 0), (0.11, 0.02), (0.35, 0.5), (0.6, 1), (1.0, 1)])
def test_the_loss_is_the_sum_with_the_released_ramp(batch, t, weight):
    """By epochs of 100: 0 until 10, then 0.02 more each, 1 from 60 on."""
    made = learner(lambda_cons=0.5)
    apart(made)
    update = next(made.step(batch, t))
    expected = update.terms["cls"] + 0.5 * weight * update.terms["cons"]
    assert update.terms["cons"] > 0
    assert update.loss.item() == pytest.approx(expected.item(), rel=1e-6)


def apart(made: MLMT) -> None:
    """A teacher that differs from its student."""
    with torch.no_grad():
        made.teacher.net.classify.weight.copy_(made.teacher.net.classify.weight.flip(0))


def test_cosine_is_of_the_logits_of_unlabelled_images(batch):
    made, other = learner(), learner()
    apart(made), apart(other)
    update = next(made.step(batch, 0.5))
    other.student(batch.x_l)
    expected = 1 - F.cosine_similarity(other.student(batch.x_u), other.teacher(batch.x_u)).mean()
    assert update.terms["cons"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_mse_is_of_the_scores_of_all_images(batch):
    made, other = learner(consistency="mse"), learner()
    apart(made), apart(other)
    update = next(made.step(batch, 0.5))
    student = torch.cat([other.student(x).sigmoid() for x in (batch.x_l, batch.x_u)])
    teacher = torch.cat([other.teacher(x).sigmoid() for x in (batch.x_l, batch.x_u)])
    assert update.terms["cons"].item() == pytest.approx((student - teacher).square().mean().item(), rel=1e-4)


@pytest.mark.parametrize("consistency", ["cosine", "mse"])
def test_the_teacher_sees_all_its_images_mirrored_or_not(asymmetric, monkeypatch, consistency):
    made = learner(consistency=consistency)
    of_student, of_teacher = inputs_of(made.student), inputs_of(made.teacher)
    monkeypatch.setattr(mlmt, "mirrored", lambda x: x.flip(3))
    next(made.step(asymmetric, 0.5))
    assert all(map(torch.equal, of_student, (asymmetric.x_l, asymmetric.x_u)))
    expected = [asymmetric.x_u.flip(3), asymmetric.x_l.flip(3)][: 2 if consistency == "mse" else 1]
    assert len(of_teacher) == len(expected)
    assert all(map(torch.equal, of_teacher, expected))


def test_student_and_teacher_are_mirrored_independently(asymmetric):
    made = learner(strong={**STILL, "flip": 0.5})
    of_student, of_teacher = inputs_of(made.student), inputs_of(made.teacher)
    for _ in range(10):
        next(made.step(asymmetric, 0.5))
    turned = [
        [torch.equal(one, other) for x in seen for one, other in zip(x, asymmetric.x_u.flip(3), strict=True)]
        for seen in (of_student[1::2], of_teacher)
    ]
    assert set(zip(*turned, strict=True)) == {(a, b) for a in (False, True) for b in (False, True)}


def test_a_teacher_that_is_the_student_agrees(batch):
    assert next(learner().step(batch, 0.5)).terms["cons"].item() == pytest.approx(0, abs=1e-5)


def test_the_teacher_averages_parameters_and_keeps_its_own_statistics(batch):
    """Its decay is 0 at step 0, 1/2 at step 1, and at most ``decay``."""
    made = learner(decay=0.6)
    for step, decay in ((0, 0.0), (1, 0.5), (50, 0.6)):
        before = [parameter.clone() for parameter in made.teacher.net.parameters()]
        updates = made.step(batch, step / 100)
        next(updates)
        with torch.no_grad():
            for parameter in made.student.parameters():
                parameter.add_(0.1)
        assert next(updates, None) is None
        for old, new, own in zip(before, made.teacher.net.parameters(), made.student.parameters(), strict=True):
            torch.testing.assert_close(new, decay * old + (1 - decay) * own)
    names = [name for name in made.student.state_dict() if name.endswith("running_mean")]
    states = made.student.state_dict(), made.teacher.net.state_dict()
    assert any(not torch.equal(states[0][name], states[1][name]) for name in names)


def test_the_teacher_gets_no_gradient(batch):
    made = learner(consistency="mse")
    apart(made)
    next(made.step(batch, 0.5)).loss.backward()
    assert all(parameter.grad is None for parameter in made.teacher.parameters())


@pytest.mark.parametrize(("consistency", "terms"), [("cosine", {"cls"}), ("mse", {"cls", "cons"})])
def test_without_unlabelled_images_their_consistency_goes_and_that_of_others_stays(batch, consistency, terms):
    made, other = (learner(consistency=consistency, unlabelled=0) for _ in range(2))
    apart(made), apart(other)
    update = next(made.step(Batch(batch.x_l, batch.y_l, batch.x_u[:0], z_l=batch.z_l), 0.9))
    assert set(update.terms) == terms
    if consistency == "mse":
        expected = F.mse_loss(other.student(batch.x_l).sigmoid(), other.teacher(batch.x_l).sigmoid())
        assert update.terms["cons"].item() == pytest.approx(expected.item(), rel=1e-4)
    other.teacher(batch.x_l)
    names = [name for name in made.teacher.state_dict() if name.endswith("running_mean")]
    states = learner().teacher.state_dict(), made.teacher.state_dict()
    assert all(not torch.equal(states[0][name], states[1][name]) for name in names)


def test_strong_views_leave_the_student_s_statistics_alone(batch):
    made, other = learner(strong={"jitter": 1, "blur": 0}, publish="student"), learner()
    list(made.step(batch, 0.9))
    other.student(batch.x_l)
    states = made.student.state_dict(), other.student.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_without_consistency_unlabelled_images_are_not_looked_at(batch):
    made = learner(lambda_cons=0, publish="student")
    update = next(made.step(Batch(batch.x_l, batch.y_l, batch.x_u * torch.nan, z_l=batch.z_l), 0.9))
    assert set(update.terms) == {"cls"}
    assert update.loss.isfinite()
    with pytest.raises(ValidationError, match="publish: student"):
        learner(lambda_cons=0)


def test_student_and_teacher_see_different_views(batch):
    made, seen = learner(strong={"jitter": 1, "blur": 0}), []
    for module in (made.student, made.teacher):
        module.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    list(made.step(batch, 0.5))
    assert torch.equal(seen[0], batch.x_l)
    assert not torch.equal(seen[1], seen[2])
    assert torch.equal(seen[2], batch.x_u)  # weak: mirrored at most


def test_mirrored_images_are_whole_and_about_half():
    x = torch.arange(200.0).view(100, 1, 1, 2).expand(100, 3, 1, 2)
    torch.manual_seed(0)
    turned = (mirrored(x)[:, 0, 0, 0] == x[:, 0, 0, 1]).sum().item()
    assert 30 < turned < 70
    torch.testing.assert_close(mirrored(x).sort(3).values, x)


@pytest.mark.parametrize("publish", ["teacher", "student"])
def test_what_is_published(publish):
    made = learner(publish=publish)
    assert made.result()[1] is (made.teacher.net if publish == "teacher" else made.student)


def test_a_tagger_on_the_network_begins_with_its_weights():
    net = build(NETWORK, 3)
    task = Task(["a", "b", "c"], NETWORK.model_dump(), lambda: net, Normalise(*IMAGENET))
    config = Config.model_validate({"steps": 1, "batch": 1, "unlabelled": 1, "optimiser": {"lr": 0.1}})
    student = MLMT(config, task).student
    assert all(a is b for a, b in zip(student.seen.parameters(), net.parameters(), strict=True))
    assert torch.equal(student.gain, torch.ones(3, 1, 1))


def test_an_encoder_of_its_own_has_its_own_scale():
    made = learner(CAFFE, encoder={"encoder": "resnet18", "output_stride": 32}, size=[64, 64])
    gain = torch.tensor([1 / 255 / std for std in IMAGENET[1]])
    torch.testing.assert_close(made.student.gain.flatten(), gain)
    section = made.result()[0]
    assert (section["network"]["encoder"], section["network"]["weights"], section["size"]) == (
        "resnet18",
        None,
        [64, 64],
    )


@pytest.mark.parametrize(
    "section",
    [
        {"views": {"crop": [8, 8]}},
        {"views": {"scales": [1.3]}},
        {"views": {"shift": 2}},
        {"strong": {"mix": 0.5}},
        {"strong": {"resize": 0.5}},
        {"batch_norm": "frozen"},
    ],
)
def test_a_part_of_an_image_or_of_two_is_refused_and_so_are_frozen_statistics(section):
    with pytest.raises(ValidationError):
        learner(**section)


def test_an_encoder_of_its_own_does_not_begin_with_the_supervised_network():
    with pytest.raises(ValidationError, match="write begin_with: weights"):
        learner(encoder={"encoder": "resnet18"}, begin_with="supervised")
