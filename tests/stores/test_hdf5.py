"""A store that is being written when the process is told to stop."""

import os
import signal
from pathlib import Path

import h5py
import pytest

from fewmask.core.stage import Stopped
from fewmask.stores.hdf5 import create


@pytest.fixture
def stopping() -> None:
    """SIGTERM raises, as in every command."""

    def stop(number: int, frame: object) -> None:
        raise Stopped(number)

    before = signal.signal(signal.SIGTERM, stop)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_signal_waits_until_the_file_can_be_closed(stopping, tmp_path: Path, monkeypatch) -> None:
    """One that came while HDF5 opened the file left it open, and the end of the process closed it with a traceback."""
    opened, really = [], h5py.File

    def slow(*args: object, **options: object) -> h5py.File:
        opened.append(really(*args, **options))
        os.kill(os.getpid(), signal.SIGTERM)
        return opened[-1]

    monkeypatch.setattr(h5py, "File", slow)
    with pytest.raises(Stopped), create(tmp_path / "new.h5", "schema", 1):
        raise AssertionError("the block is not entered")
    assert not opened[0]
