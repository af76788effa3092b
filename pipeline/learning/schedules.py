"""What changes in the course of a training: pure functions of the share of it that is done, ``t`` in 0..1."""

import math
from collections.abc import Sequence


def linear_ramp(t: float, begin: float, length: float) -> float:
    """0 before ``begin``, 1 from ``begin + length`` on, and a straight line between; all three are shares."""
    if t < begin:
        return 0.0
    return min(1.0, (t - begin) / length) if length else 1.0


def exponential_ramp(done: int, length: int) -> float:
    """exp(-5 (1 - done / length)^2) until ``length`` steps are done, then 1 (Laine & Aila, ICLR 2017)."""
    return math.exp(-5 * (1 - done / length) ** 2) if done < length else 1.0


def step_up(done: int, length: int) -> float:
    """0 until ``length`` steps are done, then 1."""
    return float(done >= length)


def piecewise(t: float, entries: Sequence[tuple[float, float]]) -> float:
    """The value of the last entry (begin, value) that has begun; the first begins at 0, and the begins rise."""
    return [value for begin, value in entries if begin <= t][-1]


def polynomial_decay(t: float, power: float) -> float:
    """From 1 to 0: (1 - t)^power."""
    return float((1 - t) ** power)


def cosine_decay(t: float) -> float:
    """From 1 to 0 along half a cosine: (1 + cos(pi t)) / 2."""
    return (1 + math.cos(math.pi * t)) / 2
