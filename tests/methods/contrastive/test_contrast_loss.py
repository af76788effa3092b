"""The factorised contrastive loss against the literal double sum of eq. (11), values and gradients, in float64."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fewmask.methods.contrastive.attention import EPS, SLOPE, ClassAttention
from fewmask.methods.contrastive.contrast_loss import contrastive_loss
from fewmask.methods.contrastive.memory import Memory

C, D, SIZE = 5, 6, 7


def literal_attention(attention: ClassAttention, c: int, x: Tensor) -> Tensor:
    """Linear, batch norm over the vectors of the class, leaky ReLU, Linear, sigmoid: (n, D) -> (n,)."""
    hidden = F.linear(x, attention.inner[c].t())
    hidden = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + EPS).sqrt()
    hidden = F.leaky_relu(hidden * attention.scale[c] + attention.shift[c], SLOPE)
    return torch.sigmoid(hidden @ attention.outer[c] + attention.bias[c])


def literal_loss(p, labels, memory, attention, memory_attention, unit) -> Tensor:
    """Eqs. (8) to (11) word for word: pairs, class after class."""
    total = p.new_zeros(())
    for c in range(C):
        own, bank = p[labels == c], memory.vectors[c, : int(memory.filled[c])]
        if not len(own) or not len(bank):
            continue
        s = literal_attention(attention, c, (F.normalize(own) if unit else own).detach())
        u = literal_attention(memory_attention, c, bank) if memory_attention else torch.ones(len(bank))
        w, v = len(own) * s / s.sum(), len(bank) * u / u.sum()  # (8)
        for i in range(len(own)):
            for j in range(len(bank)):
                cosine = own[i] @ bank[j] / (own[i].norm() * bank[j].norm())  # (9)
                total = total + w[i] * v[j] * (1 - cosine) / len(own) / len(bank)  # (10), (11)
    return total / C


def made(filled: list[int], seed: int = 0) -> tuple[Memory, ClassAttention, ClassAttention]:
    torch.manual_seed(seed)
    memory = Memory(C, SIZE, D).double()
    for c, count in enumerate(filled):
        memory.vectors[c, :count] = F.normalize(torch.randn(count, D, dtype=torch.float64))
        memory.filled[c] = count
    return memory, ClassAttention(C, D, 8).double(), ClassAttention(C, D, 8).double()


CASES = {
    "all classes": (list(range(C)) * 9, [SIZE] * C),
    "absent classes": ([0, 0, 3, 3, 3, 255, 255], [SIZE] * C),
    "one pixel": ([2], [SIZE] * C),
    "one pixel of a class, one vector in the bank": ([0, 1, 1, 1], [1, 1, 3, 3, 3]),
    "an empty bank": ([0, 1, 2, 3, 4, 4], [0] * C),
    "an empty bank of one class": ([0, 1, 1, 2, 3, 4, 4], [3, 0, SIZE, 1, 2]),
    "all ignored": ([255] * 6, [SIZE] * C),
    "no pixel": ([], [SIZE] * C),
    "unevenly many": ([1] * 300 + [4] * 2 + [255] * 30, [SIZE] * C),
}


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("ones", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_factorised_loss_is_the_double_sum(case, ones, unit):
    labels, filled = CASES[case]
    labels = torch.tensor(labels, dtype=torch.long)[torch.randperm(len(labels))]
    memory, attention, other = made(filled)
    memory_attention = None if ones else other
    p = torch.randn(len(labels), D, dtype=torch.float64) * 3
    p[::3] *= 100  # lengths must not matter to the cosine
    leaves = [p.requires_grad_(), *attention.parameters(), *other.parameters()]
    results = []
    for loss in (
        contrastive_loss(p, labels, memory, attention, memory_attention, unit=unit),
        literal_loss(p, labels, memory, attention, memory_attention, unit),
    ):
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True) if loss.requires_grad else [None] * len(leaves)
        results.append(
            (loss, [torch.zeros_like(x) if g is None else g for g, x in zip(gradients, leaves, strict=True)])
        )
    (ours, ours_gradients), (theirs, their_gradients) = results
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    for found, expected in zip(ours_gradients, their_gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-10)
    if case == "all classes":
        assert ours > 0.5
        assert all(g.abs().sum() > 0 for g in ours_gradients[:6])


def test_the_literal_sum_tells_the_options_apart():
    """Confusing `paper` with `ones`, or unit vectors with raw ones, changes the value by more than the tolerance."""
    memory, attention, other = made([SIZE] * C)
    p, labels = torch.randn(40, D, dtype=torch.float64) * torch.rand(40, 1).double() * 9, torch.arange(40) % C
    values = {
        contrastive_loss(p, labels, memory, attention, kind, unit=unit).item()
        for kind in (other, None)
        for unit in (True, False)
    }
    assert len({round(value, 6) for value in values}) == 4


def test_gradient_of_the_weights_never_reaches_the_vectors():
    """Eq. (8) sees p detached; the gradient of the cosine, all that is left, is orthogonal to each p."""
    memory, attention, other = made([SIZE] * C)
    labels = torch.arange(30) % C
    p = torch.randn(30, D, dtype=torch.float64, requires_grad=True)
    contrastive_loss(p, labels, memory, attention, other).backward()
    assert (p.grad * p).sum(1).abs().max() < 1e-12


def test_identical_vectors_cost_nothing_and_opposite_ones_two():
    """Also where those of all classes are identical: nothing keeps classes apart."""
    memory, attention, other = made([SIZE] * C)
    memory.vectors[:] = F.normalize(torch.ones(D, dtype=torch.float64), dim=0)
    for factor, expected in ((4.0, 0.0), (-0.2, 2.0)):
        p = torch.full((20, D), factor, dtype=torch.float64)
        assert contrastive_loss(p, torch.arange(20) % C, memory, attention, other).item() == pytest.approx(expected)


def test_stays_float32_under_autocast():
    memory, attention, other = made([SIZE] * C)
    memory, attention, other = memory.float(), attention.float(), other.float()
    p, labels = torch.randn(30, D), torch.arange(30) % C
    expected = contrastive_loss(p, labels, memory, attention, other)
    with torch.autocast("cpu", torch.bfloat16):
        found = contrastive_loss(p, labels, memory, attention, other)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_never_asks_the_device():
    """No number, list or truth value of a tensor is read on the host: on CUDA each would wait for the device."""
    from torch.overrides import TorchFunctionMode

    asked = []

    class Watch(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            name = getattr(function, "__name__", "")
            if name in ("item", "tolist", "__bool__", "__int__", "__float__", "__index__", "cpu", "numpy", "nonzero"):
                asked.append(name)
            return function(*args, **(kwargs or {}))

    memory, attention, other = made([SIZE] * C)
    p, labels = torch.randn(30, D, dtype=torch.float64, requires_grad=True), torch.arange(30) % C
    with Watch():
        loss = contrastive_loss(p, labels, memory, attention, other)
        loss.backward()
        assert asked == []
        loss.item()
        assert asked == ["item"]
