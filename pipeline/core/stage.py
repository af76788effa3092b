"""What every stage does around its work: one writer, a resumable scratch folder, whole outputs, clear endings.

DVC reads params.yaml and the code again after a stage. It would record an edit made meanwhile beside the old result
(dvc#11058). So ``Run.publishing`` looks whether anything changed, and refuses. Scratch lives outside DVC's sight, keyed
by a fingerprint of params, inputs and code. So it can neither go stale nor be cleared.
"""

import errno
import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

from fewmask.core.errors import BusyError, ConfigError, DataError, UserError
from fewmask.core.files import published, sha256
from fewmask.core.params import Params
from fewmask.core.runtime import Runtime, read_runtime

PACKAGE = Path(__file__).resolve().parents[1]  # pipeline/ in a clone, fewmask/ where it is installed
ROOT = PACKAGE.parent
PACKAGES = ("fewmask", "stages", "__main__")  # whose modules are of this project
IO_ERROR = 74
T = TypeVar("T")


class Stopped(BaseException):
    """SIGTERM or Ctrl-C; carries the signal's number."""

    def __init__(self, number: int):
        self.number = number


@dataclass(frozen=True)
class Run:
    """One run of one stage."""

    name: str
    params: Params
    keys: tuple[str, ...]
    inputs: tuple[Path, ...]
    fingerprint: str
    scratch: Path
    before: dict[str, Any]

    def section(self, key: str, schema: Any) -> Any:
        """A validated section of params.yaml; only what the stage declares can be read."""
        assert key in self.keys, f"{self.name} reads '{key}' but does not declare it"
        return self.params.section(key, schema)

    def merged(self, keys: Sequence[str], schema: type[T]) -> T:
        """Several sections as one: a later key overrides an earlier one, and so on inside mappings."""
        assert set(keys) <= set(self.keys), f"{self.name} reads {keys} but does not declare them"
        return self.params.merged(keys, schema)

    @property
    def runtime(self) -> Runtime:
        """Where and how fast it runs; never what comes out."""
        return read_runtime(self.params)

    @contextmanager
    def publishing(self, path: Path) -> Iterator[Path]:
        """A temporary path that becomes ``path`` when the block ends well and nothing changed meanwhile."""
        check_paths(path, self.inputs)
        for litter in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            litter.unlink()  # of a run that was killed: this one is the only writer
        with published(path) as aside:
            yield aside
            self._confirm()

    def _confirm(self) -> None:
        if _state(Params(self.params.path), self.keys, self.inputs, self.before["code"]) != self.before:
            raise ConfigError(
                f"{self.name}: {self.params.path}, an input or the code changed while it ran; "
                "the result would be recorded under the new values. Run it again."
            )


@contextmanager
def stage(
    out: Path, params: Params, keys: Sequence[str], inputs: Sequence[Path], conditions: str = ""
) -> Iterator[Run]:
    """Run the block as the only writer of ``out``; its scratch folder is kept if the block fails.

    Args:
        out: the file this stage publishes.
        keys: the dotted keys of params.yaml that dvc.yaml declares for it.
        inputs: the files it reads.
        conditions: what else must be the same for work to be resumed, such as the device.

    Raises:
        ConfigError: ``out`` is an input, or something changed during the run.
        DataError: an input is missing.
        BusyError: another process is making ``out`` or the same result.
    """
    check_paths(out, inputs)
    before = _state(params, tuple(keys), tuple(inputs), _code())
    contents = [sha256(path) for path in inputs]  # not their names or times: equal work has an equal fingerprint
    fingerprint = _digest({**before, "inputs": contents, "out": out.name, "conditions": conditions})
    root = Path(os.environ.get("DVC_ROOT", ".")).resolve() / ".scratch"
    scratch = root / f"{out.stem}-{fingerprint[:16]}"
    with ExitStack() as stack:
        stack.enter_context(_only_one(root / "locks" / f"{_digest(str(out.resolve()))[:16]}.lock", out))
        stack.enter_context(_only_one(root / "locks" / f"{fingerprint[:16]}.lock", out))
        scratch.mkdir(parents=True, exist_ok=True)
        try:
            yield Run(out.stem, params, tuple(keys), tuple(inputs), fingerprint, scratch, before)
            shutil.rmtree(scratch, ignore_errors=True)
        finally:
            with suppress(OSError):  # what is worth resuming stays, an empty folder does not
                scratch.rmdir()


def check_paths(out: Path, inputs: Sequence[Path]) -> None:
    """Refuse an output that is a folder or an input, and inputs that are not there.

    Raises:
        ConfigError, DataError: with the path.
    """
    if out.is_dir():
        raise ConfigError(f"{out}: is a folder; expected a file name to write.")
    for path in inputs:
        if not path.is_file():
            raise DataError(f"{path}: no such file. Run 'dvc repro' to make it, or fix the path.")
        if path.resolve() == out.resolve():
            raise ConfigError(f"{out}: is both input and output; choose another output.")


def _state(params: Params, keys: tuple[str, ...], inputs: tuple[Path, ...], code: Iterable[str]) -> dict[str, Any]:
    stats = [path.stat() for path in inputs]
    return {
        "params": {key: params.raw(key) for key in keys},
        "inputs": [(stat.st_size, stat.st_mtime_ns) for stat in stats],
        "code": {name: sha256(ROOT / name) for name in code},
    }


def _code() -> list[str]:
    """Files of this project that the process has loaded, and all networks, which are loaded later by name."""
    named = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] in PACKAGES]
    loaded = [module for module in named if getattr(module, "__file__", None)]
    files = {Path(str(module.__file__)).resolve() for module in loaded}
    ours = {file for file in files if file.parent.is_relative_to(PACKAGE) or file.parent == ROOT / "stages"}
    if "fewmask.nets" in sys.modules:
        ours |= set((PACKAGE / "nets").rglob("*.py"))
    return sorted(str(file.relative_to(ROOT)) for file in ours)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@contextmanager
def _only_one(lock: Path, out: Path) -> Iterator[None]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise BusyError(f"{out}: process {holder} is already making it; wait for it or stop it.") from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


class Signals:
    """Inside the block SIGTERM and Ctrl-C only set ``number``; the loop asks between steps and ends cleanly."""

    def __enter__(self) -> "Signals":
        self.number = 0
        self.old = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number

    def __exit__(self, *_: object) -> None:
        for number, handler in self.old.items():
            signal.signal(number, handler)


def run_command(main: Callable[[], None]) -> NoReturn:
    """Call ``main`` and leave with the exit code and the one clear message its outcome deserves.

    0 ok, 2 configuration, 3 data, 4 artefact, 5 busy, 6 non-finite training, 74 input/output, 128 + n signal n.
    ``FEWMASK_DEBUG=1`` adds the traceback.
    """
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        main()
    except UserError as error:
        _leave(str(error), error.code)
    except OSError as error:
        _leave(_describe(error), IO_ERROR)
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or re.search("out of memory|allocate memory", str(error))):
            raise
        _leave("not enough memory; lower the batch, dataset.size or the network's width, then run it again.", IO_ERROR)
    except Stopped as stopped:
        _leave(f"stopped by {signal.Signals(stopped.number).name}; run it again to go on", 128 + stopped.number)
    sys.exit(0)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise Stopped(number)


def _describe(error: OSError) -> str:
    remedy = "free some space and run it again" if error.errno == errno.ENOSPC else "fix that and run it again"
    return f"{error.filename or 'output'}: {error.strerror or error}; {remedy}."


def _leave(message: str, code: int) -> NoReturn:
    if os.environ.get("FEWMASK_DEBUG"):
        traceback.print_exc()
    lines = message.splitlines()
    for line in lines:
        sys.stderr.write(f"error: {line}\n")
    if len(lines) > 1:
        sys.stderr.write(f"{len(lines)} problems\n")
    sys.exit(code)
