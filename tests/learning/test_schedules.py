"""Worked values of the schedules: at 0, at the beginning, in the middle and at the end."""

import math

import pytest

from fewmask.learning.schedules import (
    cosine_decay,
    exponential_ramp,
    linear_ramp,
    piecewise,
    polynomial_decay,
    step_up,
)


def test_a_linear_ramp_rises_between_its_ends():
    """From 0.4 within 0.2: half at 0.5."""
    assert [linear_ramp(t, 0.4, 0.2) for t in (0, 0.39, 0.4, 0.6, 1)] == [0, 0, 0, pytest.approx(1), 1]
    assert linear_ramp(0.5, 0.4, 0.2) == pytest.approx(0.5)


def test_a_linear_ramp_without_length_is_a_step():
    assert [linear_ramp(t, 0.2, 0) for t in (0, 0.19, 0.2, 1)] == [0, 0, 1, 1]
    assert linear_ramp(0, 0, 0) == 1


def test_an_exponential_ramp_begins_at_exp_minus_5():
    """In the middle exp(-5 / 4)."""
    found = [exponential_ramp(done, 2000) for done in (0, 1000, 1999, 2000, 3000)]
    assert found == pytest.approx([math.exp(-5), math.exp(-1.25), math.exp(-5 / 2000**2), 1, 1])
    assert exponential_ramp(0, 0) == 1


def test_a_step_is_0_then_1():
    assert [step_up(done, 2000) for done in (0, 1999, 2000, 2001)] == [0, 0, 1, 1]
    assert step_up(0, 0) == 1


def test_a_piecewise_schedule_has_the_value_of_the_last_entry_that_has_begun():
    entries = [(0, 0.99), (1 / 3, 0.995), (2 / 3, 0.9975), (5 / 6, 0.999)]
    found = [piecewise(t / 60, entries) for t in (0, 19.9, 20, 39.9, 40, 49.9, 50, 60)]
    assert found == [0.99, 0.99, 0.995, 0.995, 0.9975, 0.9975, 0.999, 0.999]


def test_decays_fall_from_1_to_0():
    assert [cosine_decay(t) for t in (0, 1 / 3, 0.5, 1)] == pytest.approx([1, 0.75, 0.5, 0])
    assert [polynomial_decay(t, 2) for t in (0, 0.5, 1)] == [1, 0.25, 0]
    assert polynomial_decay(0.5, 0.9) == pytest.approx(0.5**0.9)
