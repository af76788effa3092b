"""The baseline: what it publishes, what its average is, and what it makes of images that are joined."""

import copy

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from fewmask.learning.learner import Batch, Task
from fewmask.methods.supervised.supervised import Config, Supervised
from fewmask.nets.base.normalise import Normalise
from fewmask.nets.base.published import build
from fewmask.nets.dsnet.dsnet import Config as DSNet

NETWORK = DSNet(width=0.25, blocks=[1, 1, 1, 1])
PLAIN = Normalise((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def learner(**fields) -> Supervised:
    torch.manual_seed(0)
    config = Config.model_validate({"steps": 10, "batch": 2, "optimiser": {"name": "sgd", "lr": 0.1}, **fields})
    return Supervised(config, Task(["a", "b"], NETWORK.model_dump(), lambda: build(NETWORK, 2), PLAIN)).train()


def moved(method: Supervised, t: float) -> Batch:
    """One step, whose optimiser adds 1 to every parameter; the batch it saw."""
    generator = torch.Generator().manual_seed(round(10 * t))
    x = torch.randn(2, 3, 32, 32, generator=generator)
    batch = Batch(x, torch.randint(0, 2, (2, 32, 32), generator=generator), x[:0])
    steps = method.step(batch, t)
    next(steps)
    with torch.no_grad():
        for parameter in method.net.parameters():
            parameter.add_(1.0)
    assert next(steps, None) is None
    return batch


def test_without_a_decay_the_network_itself_is_published():
    method = learner()
    assert method.result()[1] is method.net


def test_the_average_is_the_mean_at_first_and_then_forgets():
    """After steps 0, 1, 2 the decays are 0, 1/2 and, as 2/3 is more, 0.6: x + 1, x + 1.5, x + 0.6 * 1.5 + 0.4 * 3."""
    method = learner(decay=0.6)
    start = [p.clone() for p in method.net.parameters()]
    for step, expected in ((0, 1.0), (1, 1.5), (2, 2.1)):
        moved(method, step / 10)
        average = method.result()[1].parameters()
        for first, now in zip(start, average, strict=True):
            torch.testing.assert_close(now, first + expected)


def test_the_average_has_the_statistics_of_what_it_saw_itself():
    method = learner(decay=0.6)
    twin = copy.deepcopy(method.result()[1]).train()
    twin(moved(method, 0.0).x_l)
    wanted = dict(twin.named_buffers())
    assert any("running_mean" in name for name in wanted)
    for name, buffer in method.result()[1].named_buffers():
        assert torch.equal(buffer, wanted[name]), name


def joined(of: int = 2) -> Batch:
    """Two images with true masks and two with pseudo-labels; the upper rows of all are void."""
    generator = torch.Generator().manual_seed(1)
    y = torch.randint(0, 2, (4, 32, 32), generator=generator)
    y[:, :8] = 255
    x = torch.randn(4, 3, 32, 32, generator=generator)
    return Batch(x, y, x[:0], joined=of)


def loss(method: Supervised, batch: Batch) -> torch.Tensor:
    torch.manual_seed(5)  # as the loop does before every step
    return next(iter(method.step(batch, 0.0))).loss


STRONG = {"pseudo": 2, "batch": 4, "strong": {"mix": 1.0, "jitter": 1.0}}


def test_strong_views_are_of_joined_images_alone_and_pass_apart():
    """True ones stay weak, and what is said of them is no matter of the others."""
    method, batch, seen = learner(**STRONG), joined(), []
    method.net.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    loss(method, batch)
    weak, strong = seen
    assert torch.equal(weak, batch.x_l[:2])
    assert strong.shape == weak.shape
    assert not torch.equal(strong, batch.x_l[2:])


def test_strong_views_leave_the_statistics_alone():
    method, twin, batch = learner(**STRONG), learner(), joined()
    loss(method, batch), twin.net(batch.x_l[:2])
    found, expected = method.result()[1].state_dict(), twin.result()[1].state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_strong_views_that_change_nothing_leave_labels_and_images_as_they_are():
    """One mean over all pixels, weighted by class, of two passes."""
    same = {"jitter": 0.0, "grey": 0.0, "blur": 0.0, "mix": 0.0}
    method, batch = learner(**STRONG | {"strong": same}), joined()
    method.weights.copy_(torch.tensor([1.0, 3.0]))
    twin = copy.deepcopy(method)
    logits = torch.cat([twin.net(batch.x_l[:2]), twin.net(batch.x_l[2:])])
    expected = F.cross_entropy(logits, batch.y_l, twin.weights, ignore_index=255)
    torch.testing.assert_close(loss(method, batch), expected)


def test_pseudo_labels_move_with_the_pixels_of_a_mixture():
    """An image of ones with class 1 mixed with one of zeros with class 0: every pixel has the class of its value."""
    method, batch = (
        learner(**STRONG | {"strong": {"mix": 1.0, "mixing": "cutmix", "jitter": 0.0, "blur": 0.0}}),
        joined(),
    )
    values = torch.tensor([0, 1])[:, None, None].expand(2, 32, 32)
    given = Batch(batch.x_l.clone(), batch.y_l.clone(), batch.x_u, joined=2)
    given.x_l[2:], given.y_l[2:] = values[:, None], values
    seen = []
    method.net.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    torch.manual_seed(5)
    _, labels = method._strong(given)
    assert torch.equal(labels[2:], seen[1][:, 0].long())
    assert not torch.equal(labels[2:], values)


def test_classes_may_weigh_in_true_masks_alone():
    """The mean of each kind of image by its number: here a half and a half, in one pass."""
    method, batch = learner(pseudo=2, batch=4, weight_pseudo=False), joined()
    method.weights.copy_(torch.tensor([1.0, 3.0]))
    logits = copy.deepcopy(method).net(batch.x_l)
    true = F.cross_entropy(logits[:2], batch.y_l[:2], method.weights, ignore_index=255)
    pseudo = F.cross_entropy(logits[2:], batch.y_l[2:], ignore_index=255)
    torch.testing.assert_close(loss(method, batch), (true + pseudo) / 2)


@pytest.mark.parametrize("changes", [STRONG, {"pseudo": 2, "batch": 4, "weight_pseudo": False}])
def test_without_joined_images_both_choices_are_none(changes):
    """A filter that keeps nothing gives exactly the supervised training."""
    assert loss(learner(**changes), joined(0)) == loss(learner(), joined(0))


@pytest.mark.parametrize("changes", [{"strong": {}}, {"weight_pseudo": False}])
def test_choices_for_joined_images_need_their_number(changes):
    with pytest.raises(ValidationError, match="set pseudo, their number in a batch"):
        learner(**changes)
