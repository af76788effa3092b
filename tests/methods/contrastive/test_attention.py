"""All classes' attention at once, against one module of PyTorch's own for each."""

from statistics import median
from time import perf_counter

import pytest
import torch
from torch import Tensor, nn

from fewmask.methods.contrastive.attention import ClassAttention, scores_of
from fewmask.methods.contrastive.groups import blocks_of, ranked

C, D, H = 4, 5, 6
VOID = 255
SLOPE = 0.2


def made(classes: int = C, channels: int = D, hidden: int = H) -> ClassAttention:
    """With scales and shifts of both signs: as initialised they would hide that one is taken for another."""
    torch.manual_seed(0)
    attention = ClassAttention(classes, channels, hidden).double()
    for parameter in attention.parameters():
        nn.init.normal_(parameter)
    return attention


def module_of(attention: ClassAttention, c: int) -> nn.Sequential:
    """Class c's network of PyTorch's own layers, in training mode: batch norm with the statistics of its input."""
    _, channels, hidden = attention.inner.shape
    inner, norm, outer = nn.Linear(channels, hidden), nn.BatchNorm1d(hidden), nn.Linear(hidden, 1)
    module = nn.Sequential(inner, norm, nn.LeakyReLU(SLOPE), outer, nn.Sigmoid()).double()
    with torch.no_grad():
        inner.weight.copy_(attention.inner[c].t())
        norm.weight.copy_(attention.scale[c])
        norm.bias.copy_(attention.shift[c])
        outer.weight.copy_(attention.outer[c][None])
        outer.bias.copy_(attention.bias[c])
    return module


def data(total: int = 40) -> tuple[Tensor, Tensor]:
    """Vectors far from 0, and labels: class 2 is absent, one of five is void."""
    torch.manual_seed(1)
    return 3 + torch.randn(total, D, dtype=torch.float64), torch.tensor([0, 1, 3, VOID, 1]).repeat(total // 5)


def in_blocks(attention: ClassAttention, x: Tensor, labels: Tensor) -> Tensor:
    blocks = blocks_of(ranked(labels, len(attention.bias)))
    return attention(x[blocks.rows] * blocks.filled[..., None], blocks)


@pytest.mark.parametrize("unit", [False, True])
def test_scores_are_those_of_each_class_own_module(unit):
    attention, (x, labels) = made(), data()
    found = scores_of(attention, x, labels, unit=unit)
    seen = nn.functional.normalize(x, dim=1) if unit else x
    for c in (0, 1, 3):
        torch.testing.assert_close(found[labels == c], module_of(attention, c)(seen[labels == c]).squeeze(1))
    assert (found[labels == VOID] == 0).all()


def test_gradients_are_those_of_each_class_own_module():
    attention, (x, labels) = made(), data()
    weights = torch.randn(len(x), dtype=torch.float64)
    (scores_of(attention, x, labels, unit=False) * weights).sum().backward()
    for c in range(C):
        module, own = module_of(attention, c), labels == c
        if own.any():
            (module(x[own]).squeeze(1) * weights[own]).sum().backward()
        inner, norm, _, outer, _ = module
        pairs = (
            (attention.inner.grad[c].t(), inner.weight),
            (attention.scale.grad[c], norm.weight),
            (attention.shift.grad[c], norm.bias),
            (attention.outer.grad[c], outer.weight),
            (attention.bias.grad[c], outer.bias),
        )
        for found, theirs in pairs:
            expected = torch.zeros_like(theirs) if theirs.grad is None else theirs.grad
            torch.testing.assert_close(found, expected.reshape(found.shape), rtol=1e-7, atol=1e-9)
            assert own.any() == found.any()


def test_gradcheck_of_every_parameter():
    """Blocks with room left over, several of a class, and a class without any."""
    attention, (x, labels) = made(), data()
    parameters = dict(attention.named_parameters())

    def scores(*values: Tensor) -> Tensor:
        return torch.func.functional_call(attention, dict(zip(parameters, values, strict=True)), (seen, blocks))

    blocks = blocks_of(ranked(labels, C))
    seen = x[blocks.rows] * blocks.filled[..., None]
    assert (~blocks.filled).any()
    assert (blocks.kind == 1).sum() > 1
    assert torch.autograd.gradcheck(scores, tuple(parameters.values()))


def test_vectors_get_no_gradient():
    attention, (x, labels) = made(), data()
    blocks = blocks_of(ranked(labels, C))
    seen = (x[blocks.rows] * blocks.filled[..., None]).requires_grad_()
    attention(seen, blocks).sum().backward()
    assert seen.grad is None


def test_an_empty_slot_scores_nothing():
    attention, (x, labels) = made(), data()
    filled = blocks_of(ranked(labels, C)).filled
    assert torch.equal(in_blocks(attention, x, labels) != 0, filled)
    assert not filled.all()


def test_one_vector_is_its_own_mean():
    """Batch norm of one vector is 0, so that the score is sigmoid(outer . leaky(shift) + bias), whatever it is."""
    attention = made()
    expected = torch.sigmoid(
        attention.outer[2] @ nn.functional.leaky_relu(attention.shift[2], SLOPE) + attention.bias[2]
    )
    for factor in (1.0, -50.0):
        x = torch.full((1, D), factor, dtype=torch.float64)
        torch.testing.assert_close(scores_of(attention, x, torch.tensor([2]), unit=False), expected[None])


def test_empty_slots_are_not_seen():
    """Whatever classes share a batch, the scores of one are its own: padding enters no statistics."""
    attention, (x, labels) = made(), data()
    together = scores_of(attention, x, labels, unit=False)
    alone = scores_of(attention, x[labels == 1], labels[labels == 1], unit=False)
    torch.testing.assert_close(together[labels == 1], alone)


def test_a_class_far_from_the_origin_keeps_its_digits():
    """A variance as the difference of two squares would lose them all in float32."""
    attention, (x, labels) = made(), data()
    far = x * 1e-3 + 5
    found = scores_of(attention.float(), far.float(), labels, unit=False)
    expected = scores_of(attention.double(), far.float().double(), labels, unit=False)
    assert (found - expected).abs().max() < 0.02


def test_time_grows_with_the_vectors_and_not_with_the_square_of_the_classes():
    """Ten times the classes with as many vectors each: ten times the work, not a hundred times."""
    torch.manual_seed(0)
    cases = {}
    for classes in (8, 80):
        attention = ClassAttention(classes, 32, 32)
        labels = torch.arange(classes * 128) % classes
        cases[classes] = attention, torch.randn(len(labels), 32), labels
    times: dict[int, list[float]] = {classes: [] for classes in cases}
    for _ in range(7):
        for classes, (attention, x, labels) in cases.items():
            begin = perf_counter()
            in_blocks(attention, x, labels).sum().backward()
            times[classes].append(perf_counter() - begin)
    assert median(times[80]) < 25 * median(times[8])
