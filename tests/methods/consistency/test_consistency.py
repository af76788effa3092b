"""The losses of the consistency learner, worked by hand, and who sees which view."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fewmask.learning.batches import Batches, Pool
from fewmask.learning.fit import fit
from fewmask.learning.learner import Batch, Task
from fewmask.learning.views import WeakViews
from fewmask.methods.consistency.consistency import Config, Consistency
from fewmask.methods.supervised.supervised import Supervised
from fewmask.nets.base.normalise import Normalise
from fewmask.nets.base.weights import IMAGENET
from fewmask.nets.dsnet.dsnet import Config as DSNet
from fewmask.nets.dsnet.dsnet import build

NETWORK = DSNet(width=0.25, blocks=[1, 1, 1, 1])
SIZE = (32, 48)
IMAGES = Normalise(*IMAGENET)
SAME = {"jitter": 0.0, "grey": 0.0, "blur": 0.0, "mix": 0.0}  # strong views that change nothing


def task() -> Task:
    return Task(["a", "b", "c"], NETWORK.model_dump(mode="json"), lambda: build(NETWORK, 3), IMAGES)


def learner(**changes) -> Consistency:
    torch.manual_seed(0)
    raw = {"steps": 10, "batch": 2, "unlabelled": 3, "optimiser": {"name": "sgd", "lr": 0.1}} | changes
    return Consistency(Config.model_validate(raw), task()).train()


def batch(padding: int = 0) -> Batch:
    """Two labelled images and three others, whose last ``padding`` columns are none of theirs."""
    generator = torch.Generator().manual_seed(1)
    x_l, x_u = (torch.randn(count, 3, *SIZE, generator=generator) for count in (2, 3))
    y_l = torch.randint(0, 3, (2, *SIZE), generator=generator)
    shown = torch.ones(3, *SIZE, dtype=torch.bool)
    shown[:, :, SIZE[1] - padding :] = False
    return Batch(x_l, y_l, x_u, shown_u=shown)


def update(method: Consistency, given: Batch, t: float = 0.5):
    torch.manual_seed(5)  # as the loop does before every step
    return next(iter(method.step(given, t)))


@pytest.mark.parametrize("threshold", [0.0, 0.36])
@pytest.mark.parametrize("padding", [0, 10])
def test_the_loss_by_hand(threshold, padding):
    """The cross-entropy of confident pixels, divided by all that are not padding."""
    method, given = learner(strong=SAME, threshold=threshold, lambda_u=0.5), batch(padding)
    twin = copy.deepcopy(method)
    found = update(method, given)
    confidence, labels = twin.teacher(torch.cat([given.x_l, given.x_u]))[2:].softmax(1).max(1)
    sup = F.cross_entropy(twin.student(given.x_l), given.y_l)
    each = F.cross_entropy(twin.student(given.x_u), labels, reduction="none")
    kept = (confidence >= threshold) & given.shown_u
    assert 0 < kept.sum() <= given.shown_u.sum()
    unsup = each[kept].sum() / given.shown_u.sum()
    torch.testing.assert_close(found.loss, sup + 0.5 * unsup)
    torch.testing.assert_close(found.terms["kept"], kept.sum() / given.shown_u.sum())


def test_nothing_is_learned_from_padding():
    """Whatever the padding shows, a view's own pixels give the same targets and the same share of them."""
    method, given = learner(strong=SAME, threshold=0.0), batch(SIZE[1])
    assert update(method, given).terms["unsup"] == 0


def test_labelled_and_strong_views_pass_apart_and_the_teacher_sees_weak_ones():
    method, given = learner(strong={"mix": 1.0}, strong_views=2), batch()
    seen = {"student": [], "teacher": []}
    for name, net in (("student", method.student), ("teacher", method.teacher.net)):
        net.blocks[0].register_forward_pre_hook(lambda _, args, name=name: seen[name].append(args[0]))
    update(method, given)
    labelled, strong = seen["student"]
    assert torch.equal(labelled, given.x_l)
    assert strong.shape == (6, 3, *SIZE)
    assert not torch.equal(strong[:3], given.x_u)
    assert not torch.equal(strong[:3], strong[3:])
    (weak,) = seen["teacher"]
    assert torch.equal(weak, torch.cat([given.x_l, given.x_u]))


def test_class_weights_are_for_true_labels_alone():
    given = batch()
    plain, weighted = learner(strong=SAME, threshold=0.0), learner(strong=SAME, threshold=0.0)
    weighted.weights.copy_(torch.tensor([1.0, 5.0, 25.0]))
    first, second = update(plain, given).terms, update(weighted, given).terms
    assert first["sup"] != second["sup"]
    assert first["unsup"] == second["unsup"]


def test_the_published_teacher_has_the_statistics_of_weak_views():
    """Batch norm of the average saw x_l and x_u alone, as does the network that is scored."""
    method, given = learner(strong={"brightness": 1.0, "mix": 1.0}), batch()
    before = copy.deepcopy(method.teacher.net)
    update(method, given)
    norms = [m for m in before.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    before.train()
    before(torch.cat([given.x_l, given.x_u]))
    after = [m for m in method.teacher.net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert all(torch.equal(a.running_mean, b.running_mean) for a, b in zip(norms, after, strict=True))


def test_the_teacher_follows_closely_at_first():
    method, given = learner(decay=0.99), batch()
    steps = method.step(given, 0.0)
    next(steps)
    with torch.no_grad():
        for parameter in method.student.parameters():
            parameter.add_(1.0)
    next(steps, None)
    pairs = zip(method.teacher.net.parameters(), method.student.parameters(), strict=True)
    assert all(torch.equal(average, own) for average, own in pairs)  # step 0: 1 - 1 / 1 = 0


def test_its_control_is_the_averaged_supervised_training(tmp_path):
    """Without unlabelled images it ends as the supervised network, trained and averaged alike."""
    images, masks = np.random.default_rng(0).integers(0, 200, (6, *SIZE, 3), np.uint8), np.zeros((6, *SIZE), np.uint8)
    masks[:, ::2] = 1
    published = []
    for kind, own in ((Consistency, {"unlabelled": 0}), (Supervised, {"weight_c": None})):
        fields = {"steps": 3, "batch": 2, "optimiser": {"name": "adamw", "lr": 0.01}, "decay": 0.9, **own}
        torch.manual_seed(0)
        method = kind(kind.schema.model_validate(fields), task())
        pools = Pool(images, masks, 0, "labelled"), Pool(images[:0], masks[:0], 0, "unlabelled")
        batches = Batches([(pools[0], 2)], 6, (pools[1], 0), WeakViews(scales=[0.8, 1.0]), IMAGES, 3)
        fit(method, batches, method.config, seed=0, folder=tmp_path / kind.__name__)
        published.append(method.result()[1].state_dict())
    for name, value in published[0].items():
        torch.testing.assert_close(value, published[1][name], msg=name)
