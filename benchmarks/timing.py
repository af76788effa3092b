"""Runs that take turns in one process, and a result with its target."""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch


@dataclass(frozen=True)
class Bench:
    """What every measurement is told; ``folder`` is its own, empty and removed afterwards."""

    folder: Path
    threads: int
    quick: bool = False
    device: str = "cpu"
    models: tuple[Path, ...] = ()
    images: Path = Path("data/images.h5")

    def some(self, full: int, quick: int = 3) -> int:
        """A number of rounds or images."""
        return quick if self.quick else full

    def new_folder(self) -> Path:
        """Another empty folder."""
        return Path(tempfile.mkdtemp(dir=self.folder))


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


@dataclass(frozen=True)
class Turns:
    """Seconds of each run, turn by turn; every run has as many."""

    taken: dict[str, list[float]]

    def seconds(self, *names: str, each: int = 1) -> dict[str, float]:
        """Medians of the runs named, or of all, for one of ``each`` equal parts of a run."""
        return {name: median(self.taken[name]) / each for name in names or self.taken}

    def ratio(self, plain: str, ours: str) -> float:
        """How many times as long ``plain`` takes: the median over turns, so that load which outlasts a turn cancels."""
        return median(a / b for a, b in zip(self.taken[plain], self.taken[ours], strict=True))

    def against(self, what: str, plain: str, ours: str = "ours", least: float | None = None, each: int = 1) -> Result:
        """How many times faster ``ours`` is than ``plain``."""
        return Result(what, self.ratio(plain, ours), least=least, absolute=self.seconds(ours, plain, each=each))


def take_turns(rounds: int, **runs: Callable[[], object]) -> Turns:
    """Each of ``runs`` in turn, ``rounds`` times after a turn that does not count; each waits for its device."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            begin = perf_counter()
            run()
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()
            if number:
                taken[name].append(perf_counter() - begin)
    return Turns(taken)
