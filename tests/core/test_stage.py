"""What a stage promises around its work: one writer, unchanged inputs, clear endings."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fewmask.core import errors
from fewmask.core.params import Params
from fewmask.core.stage import Signals, Stopped, run_command, stage
from tests.forks import StageProcess

ROOT = Path(__file__).resolve().parents[2]
PARAMS = "seed: 0\nsplit: {labelled: 3}\nother: 1\n"


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_params: Callable[..., Path]) -> None:
    """Work in an empty folder with a params file and one input."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("FEWMASK_DEBUG", raising=False)
    write_params(PARAMS)
    Path("input").write_text("input")
    Path("out").write_text("old")


def publish(meanwhile: Callable[[], object] = lambda: None, keys: tuple[str, ...] = ("seed", "split")) -> None:
    """A stage that writes "new"; ``meanwhile`` happens while it runs."""
    with stage(Path("out"), Params(Path("params.yaml")), keys, [Path("input")]) as run:
        (run.scratch / "shard").write_text("work")
        with run.publishing(Path("out")) as aside:
            aside.write_text("new")
            meanwhile()


def scratches() -> list[Path]:
    return [path for path in Path(".scratch").glob("*") if path.name != "locks"]


def litter() -> list[Path]:
    return list(Path().glob(".*.tmp"))


def test_scratch_is_removed_after_success() -> None:
    publish()
    assert Path("out").read_text() == "new"
    assert scratches() == litter() == []


def test_scratch_is_kept_after_failure_and_found_again() -> None:
    def fail() -> None:
        raise errors.DataError("bad image")

    with pytest.raises(errors.DataError):
        publish(fail)
    (folder,) = scratches()
    assert (folder / "shard").read_text() == "work"
    assert (Path("out").read_text(), litter()) == ("old", [])
    with stage(Path("out"), Params(Path("params.yaml")), ("seed", "split"), [Path("input")]) as run:
        assert run.scratch == folder.resolve()


@pytest.mark.parametrize(
    ("change", "text"), [("params.yaml", PARAMS.replace("3", "4")), ("input", "INPUT"), ("params.yaml", "seed: 0.0\n")]
)
def test_another_input_has_another_scratch(change: str, text: str) -> None:
    found = []
    for _ in range(2):
        keys = ("seed", "split") if "split" in Path("params.yaml").read_text() else ("seed",)
        with stage(Path("out"), Params(Path("params.yaml")), keys, [Path("input")]) as run:
            found.append(run.fingerprint)
        Path(change).write_text(text)
    assert found[0] != found[1]


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda: Path("params.yaml").write_text(PARAMS.replace("labelled: 3", "labelled: 4")),
        lambda: Path("params.yaml").write_text(PARAMS.replace("seed: 0", "seed: 1")),
        lambda: Path("input").write_text("longer input"),
        lambda: os.utime("input", ns=(0, 0)),
    ],
    ids=["nested param", "param", "input", "input of the same size"],
)
def test_what_changes_during_the_run_is_refused(meanwhile: Callable[[], object]) -> None:
    """DVC would record the new values beside the old result (dvc#11058)."""
    with pytest.raises(errors.ConfigError, match="changed while it ran"):
        publish(meanwhile)
    assert (Path("out").read_text(), litter()) == ("old", [])


def test_edits_of_what_the_stage_does_not_read_are_no_concern() -> None:
    publish(lambda: Path("params.yaml").write_text("# a note\n" + PARAMS.replace("other: 1", "other: 2")))
    assert Path("out").read_text() == "new"


def test_changed_code_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from fewmask.core import stage as module

    module_file = Path(module.__file__)
    copy = Path("stage.py")
    shutil.copy(module_file, copy)
    monkeypatch.setattr(module, "ROOT", Path.cwd())
    monkeypatch.setattr(module, "_code", lambda: ["stage.py"])
    with pytest.raises(errors.ConfigError, match="changed while it ran"):
        publish(lambda: copy.write_text("# edited"))


def test_an_installed_package_fingerprints_its_own_code(tmp_path: Path) -> None:
    """Its folder is called fewmask then, and the stages lie inside it."""
    shutil.copytree(ROOT / "pipeline/core", tmp_path / "site/fewmask/core")
    code = "import fewmask.core.stage as s; print(*s._code())"
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    assert {"fewmask/core/stage.py", "fewmask/core/params.py"} <= set(found.split())


def test_every_network_belongs_to_the_code_of_a_stage_that_loads_one_by_name() -> None:
    import fewmask.nets  # noqa: F401
    from fewmask.core.stage import _code

    assert {
        "pipeline/core/stage.py",
        "pipeline/nets/dsnet/dsnet.py",
        "pipeline/nets/deeplabv3plus/deeplabv3plus.py",
    } <= set(_code())


def test_an_input_is_never_an_output() -> None:
    Path("link").symlink_to("input")
    for out in ("input", "./input", "link"):
        with (
            pytest.raises(errors.ConfigError, match="is both input and output"),
            stage(Path(out), Params(Path("params.yaml")), (), [Path("input")]),
        ):
            pass
    with (
        stage(Path("out"), Params(Path("params.yaml")), (), [Path("input")]) as run,
        pytest.raises(errors.ConfigError, match="is both input and output"),
        run.publishing(Path("input")),
    ):
        pass
    assert Path("input").read_text() == "input"


def test_a_missing_input_and_a_folder_as_output_are_told_before_any_work() -> None:
    Path("folder").mkdir()
    params = Params(Path("params.yaml"))
    with pytest.raises(errors.DataError, match=r"none: no such file\. Run 'dvc repro'"):
        stage(Path("out"), params, (), [Path("none")]).__enter__()
    with pytest.raises(errors.ConfigError, match="folder: is a folder"):
        stage(Path("folder"), params, (), []).__enter__()


def test_reading_what_is_not_declared_is_our_own_mistake() -> None:
    with stage(Path("out"), Params(Path("params.yaml")), ("seed",), []) as run:
        assert run.section("seed", int) == 0
        with pytest.raises(AssertionError, match="does not declare"):
            run.section("other", int)


def test_a_second_writer_is_told_the_first_ones_pid_at_once() -> None:
    params = Params(Path("params.yaml"))
    with stage(Path("out"), params, ("seed",), []):
        begin = time.monotonic()
        with pytest.raises(errors.BusyError, match=f"out: process {os.getpid()} is already making it"):
            stage(Path("out"), params, ("other",), []).__enter__()
        assert time.monotonic() - begin < 1
        with stage(Path("elsewhere"), params, ("seed",), []):
            pass
    with stage(Path("out"), params, ("other",), []):
        pass


SLOW = "dataset: {kind: streets, size: [96, 128], train: 100000, validation: 1, test: 1}\n"
QUICK = "dataset: {kind: streets, size: [48, 64], train: 2, validation: 1, test: 1}\n"


@pytest.fixture
def slow_prepare(start_stage: Callable[..., StageProcess]) -> Iterator[StageProcess]:
    """A running ``prepare`` that has begun to write."""
    Path("params.yaml").write_text(SLOW)
    Path("out").write_text("old")
    process = start_stage("prepare", "--out", "out")
    deadline = time.monotonic() + 30
    while not litter():
        assert process.runs(), process.finish()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield process
    process.signal(signal.SIGKILL)
    process.finish()


def test_busy_is_exit_5_and_a_killed_writer_leaves_no_lock(
    slow_prepare: StageProcess, run_stage: Callable[..., tuple[int, str, str]]
) -> None:
    """The lock ends with its process (flock); what the killed run left beside the output is swept up by the next."""
    code, _, err = run_stage("prepare", "--out", "out")
    assert (code, err) == (5, f"error: out: process {slow_prepare.pid} is already making it; wait for it or stop it.\n")
    slow_prepare.signal(signal.SIGKILL)
    slow_prepare.finish()
    assert Path("out").read_text() == "old"
    Path("params.yaml").write_text(QUICK)
    assert run_stage("prepare", "--out", "out")[0] == 0
    assert Path("out").read_bytes()[512:].startswith(b"\x89HDF")
    assert litter() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_stage_cleanly(slow_prepare: StageProcess, number: signal.Signals) -> None:
    slow_prepare.signal(number)
    code, _, err = slow_prepare.finish()
    assert code == 128 + number
    assert err == f"error: stopped by {number.name}; run it again to go on\n"
    assert (Path("out").read_text(), litter()) == ("old", [])


@pytest.fixture
def ending(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[BaseException | None], tuple[object, str]]]:
    """``ending(error)`` -> exit code and standard error of a command that raises ``error``."""
    old = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def end(error: BaseException | None) -> tuple[object, str]:
        def main() -> None:
            if error is not None:
                raise error

        with pytest.raises(SystemExit) as caught:
            run_command(main)
        return caught.value.code, capsys.readouterr().err

    yield end
    for number, handler in old.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (None, 0, ""),
        (errors.ConfigError("a: b"), 2, "error: a: b\n"),
        (errors.DataError("one\ntwo"), 3, "error: one\nerror: two\n2 problems\n"),
        (errors.ArtefactError("x"), 4, "error: x\n"),
        (errors.BusyError("x"), 5, "error: x\n"),
        (errors.NonFiniteError("x"), 6, "error: x\n"),
        (
            OSError(errno.ENOSPC, "No space left", "f"),
            74,
            "error: f: No space left; free some space and run it again.\n",
        ),
        (PermissionError(errno.EACCES, "denied", "f"), 74, "error: f: denied; fix that and run it again.\n"),
        (Stopped(signal.SIGTERM), 143, "error: stopped by SIGTERM; run it again to go on\n"),
        (Stopped(signal.SIGINT), 130, "error: stopped by SIGINT; run it again to go on\n"),
    ],
)
def test_each_ending_has_its_code_and_its_words(
    ending: Callable[..., tuple[object, str]], error: BaseException | None, code: int, text: str
) -> None:
    assert ending(error) == (code, text)


def test_the_traceback_is_there_for_whom_asks(
    ending: Callable[..., tuple[object, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEWMASK_DEBUG", "1")
    code, text = ending(errors.DataError("bad"))
    assert code == 3
    assert "Traceback" in text


def test_signals_are_noted_for_the_loop_and_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Signals() as signals:
        assert signals.number == 0
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.number == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
