"""Progress of long work: a bar on a terminal, a plain line every few seconds elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

SECONDS_BETWEEN_LINES = 10.0


def say(message: str) -> None:
    """One line for the person, on standard output."""
    Console(file=sys.stdout, highlight=False, soft_wrap=True, markup=False, emoji=False).print(message)


def warn(message: str) -> None:
    """One warning for the person, on standard error."""
    Console(file=sys.stderr, highlight=False, soft_wrap=True, markup=False, emoji=False).print(f"warning: {message}")


class Progress:
    """``with Progress("supervised", 400, "step") as progress: progress.show(done, "loss 1.23")``."""

    def __init__(self, name: str, total: int, unit: str, done: int = 0):
        self.name, self.total, self.unit = name, total, unit
        self.first = done
        self.begin = self.last = time.monotonic()
        self.bar: Bar | None = None
        if sys.stdout.isatty():
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            self.bar = Bar(*columns, TextColumn("{task.fields[note]}"))
            self.task = self.bar.add_task(name, total=total, completed=done, note="")

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
        return self

    def show(self, done: int, note: str = "") -> None:
        """``done`` of ``total`` units are finished."""
        if self.bar:
            self.bar.update(self.task, completed=done, note=note)
            return
        now = time.monotonic()
        if done == self.total or now - self.last > SECONDS_BETWEEN_LINES:
            self.last = now
            rate = (done - self.first) / max(now - self.begin, 1e-9)
            say(f"[{self.name}] {self.unit} {done} of {self.total}  {rate:.1f}/s  {note}".rstrip())

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self.bar:
            self.bar.stop()
