"""Stages as processes of their own, without the seconds that each would spend on importing PyTorch.

They are forked from a process that has imported nothing of this project, so each imports what it needs by itself.
"""

import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["h5py", "PIL.Image", "pydantic", "rich.progress", "ruamel.yaml", "torch._dynamo", "torch.utils.flop_counter"]
)


class Outcome(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class StageProcess:
    """``python -m stages.NAME ...`` in ``folder``, started; its standard output and error go to two files."""

    def __init__(self, words: Sequence[str], folder: Path):
        self.words = words
        self.streams = [_empty_file(), _empty_file()]
        arguments = (words, folder, dict(os.environ), self.streams)
        self.process = FORKS.Process(target=_become, args=arguments, daemon=True)  # it ends with the tests
        self.process.start()
        self.outcome: Outcome | None = None

    @property
    def pid(self) -> int:
        return self.process.pid or 0

    def runs(self) -> bool:
        return self.process.is_alive()

    def signal(self, number: int) -> None:
        if self.runs():
            os.kill(self.pid, number)

    def finish(self) -> Outcome:
        """Wait for its end, a minute at most."""
        if self.outcome is None:
            self.process.join(60)
            out, err = (stream.read_text() for stream in self.streams)
            assert self.process.exitcode is not None, f"{self.words} still runs after a minute: {err}"
            for stream in self.streams:
                stream.unlink()
            self.outcome = Outcome(self.process.exitcode, out, err)
        return self.outcome


def _empty_file() -> Path:
    number, name = tempfile.mkstemp()
    os.close(number)
    return Path(name)


def _become(words: Sequence[str], folder: Path, environment: dict[str, str], streams: Sequence[Path]) -> None:
    for number, stream in enumerate(streams, 1):
        os.dup2(os.open(stream, os.O_WRONLY), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.argv = [f"stages.{words[0]}", *words[1:]]
    runpy.run_module(f"stages.{words[0]}", run_name="__main__", alter_sys=True)
