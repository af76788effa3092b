"""Interleaved medians, and a result with its target."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from statistics import median
from time import perf_counter
from typing import Any


@dataclass(frozen=True)
class Result:
    """One figure; ``least`` or ``most`` is its target, ``absolute`` what it was made from (seconds unless named)."""

    what: str
    value: float | None
    unit: str = "x"
    least: float | None = None
    most: float | None = None
    absolute: dict[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is no target or no figure."""
        if self.value is None or self.least is self.most is None:
            return None
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)

    def plain(self) -> dict[str, Any]:
        """For JSON: four significant digits, only what is there."""
        row = {**asdict(self), "met": self.met}
        row["absolute"] = {key: _short(value) for key, value in self.absolute.items()}
        row["value"] = None if self.value is None else _short(self.value)
        return {key: value for key, value in row.items() if value not in (None, {}, "")}

    def line(self) -> str:
        """For a person."""
        target = "" if self.met is None else f">= {self.least:g}" if self.most is None else f"<= {self.most:g}"
        mark = {None: "", True: "met", False: "MISSED"}[self.met]
        value = "skipped" if self.value is None else f"{_short(self.value):g} {self.unit}"
        parts = ", ".join(f"{key} {_short(number):g}" for key, number in self.absolute.items())
        return f"  {self.what:<58} {value:>14}  {target:>7} {mark:<6}  {parts}  {self.note}".rstrip()


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def interleaved(rounds: int, **runs: Callable[[], object]) -> dict[str, float]:
    """Median seconds of each of ``runs``, taken in turn ``rounds`` times after one turn that does not count."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            begin = perf_counter()
            run()
            if number:
                times[name].append(perf_counter() - begin)
    return {name: median(taken) for name, taken in times.items()}
