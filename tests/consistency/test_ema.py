"""The averaged teacher against the closed form, and what it must never do."""

import copy

import pytest
import torch
from torch import nn

from fewmask.consistency.ema import Ema


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.9))


def test_worked_example():
    student = nn.Linear(1, 1)
    nn.init.constant_(student.weight, 1.0)
    nn.init.constant_(student.bias, 0.0)
    teacher = Ema(student)
    nn.init.constant_(student.weight, 2.0)
    teacher.update(student, 0.75)
    assert teacher.net.weight.item() == 1.25  # 0.75 * 1 + 0.25 * 2
    teacher.update(student, 0.75)
    assert teacher.net.weight.item() == 1.4375


def test_many_updates_are_the_closed_form():
    student = network()
    teacher, first = Ema(student), copy.deepcopy(student)
    with torch.no_grad():
        for tensor in student.parameters():
            tensor.add_(1)
    for _ in range(7):
        teacher.update(student, 0.9)
    for after, before in zip(teacher.net.parameters(), first.parameters(), strict=True):
        torch.testing.assert_close(after, before + 1 - 0.9**7)


def test_statistics_are_those_of_what_the_teacher_sees():
    """One look at images of mean 3 moves the running mean by a tenth of the way; the student's never matter."""
    student = nn.Sequential(nn.BatchNorm2d(1))
    teacher = Ema(student).train()
    student[0].running_mean.fill_(100)
    teacher(torch.full((2, 1, 4, 4), 3.0))
    teacher.update(student, 0.5)
    assert teacher.net[0].running_mean.item() == pytest.approx(0.3)
    teacher.eval()
    teacher(torch.full((2, 1, 4, 4), 3.0))
    assert teacher.net[0].running_mean.item() == pytest.approx(0.3)


def test_frozen_statistics_stay():
    teacher = Ema(nn.Sequential(nn.BatchNorm2d(1)), "frozen").train()
    teacher(torch.full((2, 1, 4, 4), 3.0))
    assert teacher.net[0].running_mean.item() == 0


def test_without_averaging_the_teacher_is_the_student():
    student = network()
    teacher = Ema(student)
    nn.init.normal_(student[0].weight)
    teacher.update(student, 0.0)
    assert torch.equal(teacher.net[0].weight, student[0].weight)


def test_it_shares_no_memory_with_the_student():
    student = network()
    pairs = zip(Ema(student).net.state_dict().values(), student.state_dict().values(), strict=True)
    assert all(ours.data_ptr() != theirs.data_ptr() for ours, theirs in pairs)


def test_dropout_stays_off_and_nothing_has_a_gradient():
    teacher = Ema(network(), "frozen")
    nn.ModuleList([teacher]).train()
    before = copy.deepcopy(teacher.state_dict())
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(teacher(x), teacher(x))
    assert not teacher(x).requires_grad
    assert not any(p.requires_grad for p in teacher.parameters())
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())


def test_an_update_is_one_fused_operation_however_many_parameters_there_are(monkeypatch):
    calls = []
    original = torch._foreach_lerp_
    monkeypatch.setattr(torch, "_foreach_lerp_", lambda own, *rest: (calls.append(len(own)), original(own, *rest)))
    student = nn.Sequential(*(network() for _ in range(5)))
    Ema(student).update(student, 0.9)
    assert calls == [20]


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_a_student_that_stands_still_is_a_fixed_point(decay):
    student = network()
    teacher = Ema(student)
    teacher.update(student, decay)
    assert all(torch.equal(a, b) for a, b in zip(teacher.net.parameters(), student.parameters(), strict=True))
