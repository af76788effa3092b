"""The losses of stages 2 and 3, worked by hand where it can be done, and who learns from whom."""

import copy
import dataclasses

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from fewmask.core.errors import ConfigError
from fewmask.learning.learner import Batch, PixelCounts, Task, most_likely
from fewmask.learning.recipe import fresh_copy
from fewmask.methods.three_stage.strong import draw_strong
from fewmask.methods.three_stage.three_stage import Config, ThreeStage
from fewmask.nets.base.normalise import Normalise
from fewmask.nets.base.weights import IMAGENET
from fewmask.nets.dsnet.dsnet import Config as DSNet
from fewmask.nets.dsnet.dsnet import build

NETWORK = DSNet(width=0.25, blocks=[1, 1, 1, 1])
SIZE = (32, 48)
PLAIN = {"strong": None, "weight_c": None}


def learner(**changes) -> ThreeStage:
    torch.manual_seed(0)
    raw = {"steps": 10, "batch": 2, "unlabelled": 3, "batch_norm": "trained", "optimiser": {"name": "sgd", "lr": 0.1}}
    raw |= changes
    task = Task(["a", "b", "c"], NETWORK.model_dump(mode="json"), lambda: build(NETWORK, 3), Normalise(*IMAGENET))
    made = ThreeStage(Config.model_validate(raw), task)
    made.train()
    return made


def batch(labelled: int = 2, unlabelled: int = 3) -> Batch:
    generator = torch.Generator().manual_seed(1)

    def masks(count: int) -> torch.Tensor:
        drawn = torch.randint(0, 3, (count, *SIZE), generator=generator)
        drawn[:, :4] = 255
        return drawn

    x_l, x_u = (torch.randn(count, 3, *SIZE, generator=generator) for count in (labelled, unlabelled))
    return Batch(x_l, masks(labelled), x_u, masks(labelled), masks(unlabelled))


def update(method: ThreeStage, given: Batch, t: float = 0.0):
    torch.manual_seed(5)  # as the loop does before every step
    return next(iter(method.step(given, t)))


def mean_ce(logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    return F.cross_entropy(logits, target, weight, ignore_index=255)


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [1.0, 2.0, 5.0]])
def test_eqs_1_to_4_without_strong_views(weights):
    """Every term from its definition: one mean over the labelled images for (2), over all images for (1) and (3)."""
    method, given = learner(**PLAIN, lambda_1=0.25, lambda_2=0.75), batch()
    method.weights.copy_(torch.tensor(weights))
    twin = copy.deepcopy(method)
    found = update(method, given)
    passes = twin.student(given.x_l), twin.student(given.x_u)
    segmented, branch = (torch.cat(parts) for parts in zip(*passes, strict=True))
    seg = mean_ce(segmented[:2], given.y_l, twin.weights)
    con = mean_ce(segmented, most_likely(twin.teacher(torch.cat([given.x_l, given.x_u]))))
    pl = mean_ce(branch, torch.cat([given.p_l, given.p_u]))
    torch.testing.assert_close(found.terms, {"seg": seg.detach(), "con": con.detach(), "pl": pl.detach()})
    torch.testing.assert_close(found.loss, seg + 0.25 * con + 0.75 * pl)


def test_student_and_teacher_begin_as_the_network_that_the_task_gives():
    """``begin_with: supervised`` hands out copies of a trained network; the branch alone is new."""
    trained = build(NETWORK, 3)
    task = Task(["a", "b", "c"], NETWORK.model_dump(mode="json"), lambda: fresh_copy(trained), Normalise(*IMAGENET))
    method = ThreeStage(learner(branch={"own_blocks": 2}).config, task)
    for net in (method.student.net, method.teacher.net):
        assert all(torch.equal(value, trained.state_dict()[name]) for name, value in net.state_dict().items())
    update(method.train(), batch())
    assert all(parameter.grad is None for parameter in trained.parameters())


def test_strong_views_are_the_student_s_alone_and_of_unlabelled_images_alone():
    method, given = learner(strong={"operations": 3, "probability": 1.0, "hole": 8}), batch()
    student, teacher = [], []
    method.student.net.blocks[0].register_forward_pre_hook(lambda _, args: student.append(args[0]))
    method.teacher.net.blocks[0].register_forward_pre_hook(lambda _, args: teacher.append(args[0]))
    update(method, given)
    torch.manual_seed(5)
    strong = draw_strong(method.config.strong, 3, SIZE)
    assert torch.equal(student[0], given.x_l)
    assert torch.equal(student[1], strong.images(given.x_u))
    assert torch.equal(teacher[0], torch.cat([given.x_l, given.x_u]))
    assert not torch.equal(student[1], given.x_u)


def test_what_the_student_says_of_a_labelled_view_is_no_matter_of_the_strong_ones():
    """In one pass their batch statistics would mix, and the network that is scored never be trained."""
    given = batch()
    other = Batch(given.x_l, given.y_l, 3 - given.x_u, given.p_l, given.p_u)
    assert update(learner(), given).terms["seg"] == update(learner(), other).terms["seg"]


def test_targets_move_with_the_strong_view_and_labelled_ones_stay(monkeypatch):
    method, given = learner(strong={"operations": 3, "probability": 1.0, "holes": 0}), batch()
    targets = []
    monkeypatch.setattr(
        "fewmask.methods.three_stage.three_stage.cross_entropy",
        lambda logits, target, weight=None: (targets.append(target), mean_ce(logits, target))[1],
    )
    teacher = most_likely(method.teacher(torch.cat([given.x_l, given.x_u])))
    update(method, given)
    torch.manual_seed(5)
    strong = draw_strong(method.config.strong, 3, SIZE)
    seg, con, pl = targets
    assert torch.equal(seg, given.y_l)
    assert torch.equal(con, torch.cat([teacher[:2], strong.labels(teacher[2:])]))
    assert torch.equal(pl, torch.cat([given.p_l, strong.labels(given.p_u)]))
    assert (con[2:] == 255).any()  # what came from outside the image is no target


def test_the_padding_of_an_unlabelled_view_is_no_target():
    """What its teacher says of the mean colour is nothing to learn; (1) is a mean over the other pixels."""
    method, given = learner(**PLAIN), batch()
    shown = torch.ones(3, *SIZE, dtype=torch.bool)
    shown[:, :, 40:] = False
    twin = copy.deepcopy(method)
    target = most_likely(twin.teacher(torch.cat([given.x_l, given.x_u])))
    target[2:, :, 40:] = 255
    segmented = torch.cat([twin.student(given.x_l)[0], twin.student(given.x_u)[0]])
    found = update(method, dataclasses.replace(given, shown_u=shown)).terms
    torch.testing.assert_close(found["con"], mean_ce(segmented, target).detach())


@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_pixels_of_which_the_teacher_is_less_sure_than_the_threshold_do_not_count(threshold):
    """(1) is a mean over the others, of labelled images and of unlabelled ones."""
    method, given = learner(**PLAIN, threshold=threshold), batch()
    twin = copy.deepcopy(method)
    p = twin.teacher(torch.cat([given.x_l, given.x_u])).softmax(1)
    kept = p.amax(1) >= threshold
    assert 0 < kept.sum() < kept.numel() or threshold < 1 / 3  # of three classes one always has a third
    segmented = torch.cat([twin.student(given.x_l)[0], twin.student(given.x_u)[0]])
    expected = F.cross_entropy(segmented, p.argmax(1), reduction="none")[kept].mean()
    torch.testing.assert_close(update(method, given).terms["con"], expected.detach())


def test_true_masks_of_no_other_image_and_pseudo_masks_of_labelled_ones_count():
    """Eq. (2) ends at the labelled images; eq. (3) holds for L and U, with predicted masks for both."""
    given = batch()
    first = update(learner(**PLAIN), given).terms
    other = Batch(given.x_l, given.y_l, given.x_u, given.y_l, given.p_u)
    second = update(learner(**PLAIN), other).terms
    assert second["seg"] == first["seg"]
    assert second["pl"] != first["pl"]


@pytest.mark.parametrize("changes", [{}, {"strong": None}, {"decay": [[0, 0]]}, {"branch": {"own_blocks": 2}}])
def test_two_student_forwards_and_one_teacher_forward_a_step(changes):
    method, given = learner(**changes), batch()
    calls = []
    for name, net in (("student", method.student.net), ("teacher", method.teacher.net)):
        for block in net.blocks:
            block.register_forward_hook(lambda _, args, out, name=name: calls.append((name, len(out))))
        net.head.register_forward_hook(lambda _, args, out, name=name: calls.append((name, len(out))))
    method.student.own_head.register_forward_hook(lambda _, args, out: calls.append(("branch", len(out))))
    for found in method.step(given, 0.0):
        found.loss.backward()
    parts = len(method.student.net.blocks) + 1
    expected = [("student", 2), ("student", 3), ("teacher", 5)] * parts + [("branch", 2), ("branch", 3)]
    assert sorted(calls) == sorted(expected)


def test_without_consistency_or_task_2_the_other_terms_remain():
    given = batch()
    bare = Batch(given.x_l, given.y_l, given.x_u)
    assert set(update(learner(lambda_1=0), given).terms) == {"seg", "pl"}
    assert set(update(learner(lambda_2=0), bare).terms) == {"seg", "con"}
    with pytest.raises(ConfigError, match="--labels: found none"):
        update(learner(), bare)


@pytest.mark.parametrize("changes", [{}, {"lambda_1": 0}])
def test_the_published_statistics_are_of_weak_views(changes):
    """The student sees strong views; statistics of these would fit no image at prediction."""
    method, given = learner(strong={"probability": 1.0}, **changes), batch()
    norm = method.teacher.net.blocks[0][0][1]
    conv = copy.deepcopy(method.teacher.net.blocks[0][0][0])
    update(method, given)
    expected = conv(torch.cat([given.x_l, given.x_u])).mean((0, 2, 3)) * norm.momentum
    torch.testing.assert_close(norm.running_mean, expected)


def test_frozen_statistics_are_the_teacher_s_too():
    method = learner(batch_norm="frozen")
    before = method.teacher.net.blocks[0][0][1].running_mean.clone()
    update(method, batch())
    assert torch.equal(method.teacher.net.blocks[0][0][1].running_mean, before)
    assert method.teacher.net.head.taps[0][1].running_mean.abs().sum() > 0  # a new head's are its own


def test_unlabelled_images_are_no_afterthought():
    with pytest.raises(ValidationError):
        learner(unlabelled=None)
    raw = {"steps": 1, "batch": 1, "optimiser": {"lr": 0.1}}
    with pytest.raises(ValidationError, match="unlabelled"):
        Config.model_validate(raw)


def moved(module: torch.nn.Module) -> bool:
    return any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in module.parameters())


@pytest.mark.parametrize(("own", "reached"), [(1, [True] * 5), (2, [True] * 4 + [False])])
def test_pseudo_masks_teach_the_shared_blocks_but_never_the_network_s_own_head(own, reached):
    """Stage 2 shares all blocks but the last (N - 2 with the head), stage 3 all of them (N - 1)."""
    method = learner(branch={"own_blocks": own}, lambda_1=0)
    given = batch()
    given.y_l.fill_(255)  # eq. (3) alone
    update(method, given).loss.backward()
    assert [moved(block) for block in method.student.net.blocks] == reached
    assert not moved(method.student.net.head)


def test_the_teacher_has_no_gradient_and_follows_after_the_step():
    method, given = learner(decay=[[0, 0.75]]), batch()
    before = copy.deepcopy(method.teacher.net.state_dict())
    steps = method.step(given, 0.0)
    next(steps).loss.backward()
    assert all(p.grad is None for p in method.teacher.parameters())
    weight = method.student.net.blocks[0][0][0].weight
    with torch.no_grad():
        weight.add_(1)
    key = "blocks.0.0.0.weight"
    assert torch.equal(method.teacher.net.state_dict()[key], before[key])
    assert next(steps, None) is None
    torch.testing.assert_close(method.teacher.net.state_dict()[key], before[key] + 0.25)


@pytest.mark.parametrize(("t", "weight"), [(0.0, 0.0), (0.1, 0.25), (0.2, 0.5), (0.9, 0.5)])
def test_consistency_ramps_up(t, weight):
    found = update(learner(lambda_1=0.5, lambda_2=0.25, ramp=0.2), batch(), t)
    expected = found.terms["seg"] + weight * found.terms["con"] + 0.25 * found.terms["pl"]
    torch.testing.assert_close(found.loss.detach(), expected)


def test_the_published_network_is_the_teacher_without_branch_or_the_student():
    for who in ("teacher", "student"):
        method = learner(publish=who)
        section, net = method.result()
        assert net is (method.teacher.net if who == "teacher" else method.student.net)
        build(DSNet.model_validate(section), 3).load_state_dict(net.state_dict())


@pytest.mark.parametrize("decay", [[], [[0.5, 0.9]], [[0, 0.9], [0.5, 0.99], [0.2, 0.9]]])
def test_a_decay_schedule_that_begins_late_or_goes_back_is_refused(decay):
    with pytest.raises(ValidationError, match="expected 0 first, then rising"):
        learner(decay=decay)


def test_classes_weigh_alike_unless_asked():
    """The paper's (2) has no weights; the streets preset takes stage 1's, so that stages differ in nothing else."""
    counts = PixelCounts(torch.tensor([90, 10, 0]).numpy(), 100, torch.tensor([100, 100, 0]).numpy())
    data = type("Data", (), {"counts": counts})()
    plain, weighted = learner(), learner(weight_c=1.1)
    for method in (plain, weighted):
        method.begin(data)
    assert plain.weights.tolist() == [1, 1, 1]
    expected = [1 / torch.tensor(2.0).log(), 1 / torch.tensor(1.2).log(), 0]
    assert weighted.weights.tolist() == pytest.approx([float(v) for v in expected])


def test_defaults_are_the_paper_s():
    """Frozen batch norm, both weights 1/2 (Cityscapes), no ramp, three operations and three holes of 32 pixels."""
    config = Config.model_validate({"steps": 1, "batch": 1, "unlabelled": 4, "optimiser": {"lr": 3e-5}})
    assert (config.batch_norm, config.lambda_1, config.lambda_2, config.ramp) == ("frozen", 0.5, 0.5, 0)
    assert config.threshold == 0
    assert (config.strong.operations, config.strong.probability, config.strong.holes, config.strong.hole) == (
        3,
        0.5,
        3,
        32,
    )
    assert config.weight_c is None
