"""Published files are whole or absent, whatever happens while they are written."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fewmask.core.errors import ConfigError
from fewmask.core.files import published, sha256, write_bytes, write_text

ROOT = Path(__file__).resolve().parents[2]


def test_write_replaces_and_makes_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "out.txt"
    write_text(path, "one")
    write_text(path, "zwö")
    assert path.read_bytes() == "zwö".encode()
    assert os.listdir(path.parent) == ["out.txt"]


def test_a_failure_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError, match="half way"), published(path) as aside:
        aside.write_text("ne")
        raise RuntimeError("half way")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_a_block_that_writes_nothing_publishes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    write_text(path, "old")
    with pytest.raises(FileNotFoundError), published(path):
        pass
    assert path.read_text() == "old"


def test_the_temporary_file_stands_beside_its_target(tmp_path: Path) -> None:
    """A rename is atomic within one file system only."""
    with published(tmp_path / "x.h5") as aside:
        assert aside.parent == tmp_path
        assert aside.name.startswith(".x.h5.")
        assert not (tmp_path / "x.h5").exists()
        aside.write_bytes(b"")


def test_a_folder_or_a_file_in_the_way_is_a_mistake_of_the_person(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="is a folder; expected a file name"):
        write_text(tmp_path / "folder", "")
    for path in (tmp_path / "file" / "out", tmp_path / "file" / "deep" / "out"):
        with pytest.raises(ConfigError, match="is not a folder; move it away"):
            write_text(path, "")
    assert (tmp_path / "file").read_text() == "mine"


def test_content_and_folder_are_synced_around_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Power may fail at any moment: fsync of the file, then the rename, then fsync of the folder."""
    events = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(handle: int) -> None:
        events.append(("fsync", Path(os.readlink(f"/proc/self/fd/{handle}")).name))
        fsync(handle)

    def noted_replace(source: Path, target: Path) -> None:
        events.append(("rename", target.name))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    write_bytes(tmp_path / "out", b"x" * 10_000)
    aside = f".out.{os.getpid()}.tmp"
    assert events == [("fsync", aside), ("rename", "out"), ("fsync", tmp_path.name)]


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_the_kernel_sees_fsync_rename_fsync(tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    code = f"from fewmask.core.files import write_text; from pathlib import Path; write_text(Path({str(out)!r}), 'x')"
    trace = ["strace", "-f", "-y", "-e", "trace=fsync,fdatasync,rename,renameat,renameat2", "-o", str(log)]
    done = subprocess.run([*trace, sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    if "ptrace" in done.stderr.lower():
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    calls = [line.split(maxsplit=1)[1] for line in log.read_text().splitlines() if str(tmp_path) in line]
    assert [call.partition("(")[0].removesuffix("at2").removesuffix("at") for call in calls] == [
        "fsync",
        "rename",
        "fsync",
    ]
    assert ".out." in calls[0]
    assert f"<{tmp_path}>" in calls[2]


def test_sha256_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
