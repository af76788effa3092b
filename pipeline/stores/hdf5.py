"""HDF5 files that are whole or absent, and that are checked before a byte of them is believed.

Measured reasons (docs/stores.md):

- A file that is being grown does not survive a kill.
- A full disk crashes the HDF5 library on close.
- A flipped bit goes unseen or makes the library loop for ever. So the first 512 bytes hold the SHA-256 of the rest,
  compared before HDF5 reads any of it.
- External and virtual links read whatever they point at.
"""

import errno
import hashlib
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fewmask.core.errors import ArtefactError
from fewmask.core.masks import IGNORE
from fewmask.core.stage import Signals, Stopped

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MARK = b"fewmask-sha256 "
BLOCK = 512  # HDF5's smallest user block: bytes before its own, which it leaves to us
REMAKE = "Delete it and run 'dvc repro' to make it again."


class _Guarded(io.FileIO):
    """Remembers the first write error and swallows the rest, so that HDF5 can close instead of crashing (h5py#914)."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        if self.error is None:
            try:
                done = super().write(data)
                if done == len(data):
                    return done
                self.error = OSError(errno.ENOSPC, "No space left on device", str(self.name))
            except OSError as error:
                self.error = OSError(error.errno, error.strerror, str(self.name))
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        return super().truncate(size) if self.error is None else 0


@contextmanager
def create(path: Path, schema: str, version: int) -> Iterator[h5py.File]:
    """Write a new HDF5 file at ``path``; only when the block ends well ``complete`` is set and the file sealed.

    Raises:
        OSError: the disk is full or refuses, with the path.
    """
    guard = _Guarded(path, "w+")
    try:
        try:
            with ExitStack() as stack:
                with Signals() as signals:  # one in the midst of opening would leave what only the process's end closes
                    file = stack.enter_context(h5py.File(guard, "w", libver="v110", userblock_size=BLOCK))
                if signals.number:
                    raise Stopped(signals.number)
                file.attrs["schema"], file.attrs["schema_version"], file.attrs["complete"] = (
                    schema,
                    version,
                    0,
                )
                yield file
                file.attrs["complete"] = 1
            seal(guard)
        except (OSError, RuntimeError, ValueError):
            if guard.error is None:
                raise
        if guard.error is not None:
            raise guard.error
    finally:
        guard.close()


def add_image(group: h5py.Group, name: str, data: np.ndarray, fill: int = IGNORE) -> None:
    """One image-like uint8 array as one compressed, checksummed chunk."""
    chunk = {"chunks": data.shape} if data.size else {}
    group.create_dataset(
        name, data=data, compression="gzip", compression_opts=1, fletcher32=True, fillvalue=fill, **chunk
    )


def crc(stem: str, *arrays: np.ndarray) -> int:
    """CRC32 over an image's name, size and arrays: what no filter of HDF5 can see, two images swapped."""
    value = zlib.crc32(f"{stem}|{arrays[0].shape[0]}|{arrays[0].shape[1]}".encode())
    for array in arrays:
        value = zlib.crc32(np.ascontiguousarray(array).data, value)
    return value


def seal(file: io.FileIO) -> None:
    """Write the digest of a closed HDF5 file, open for reading and writing, into its user block."""
    block = _block(file)
    file.seek(0)
    file.write(block)


def _block(file: io.FileIO) -> bytes:
    file.seek(BLOCK)
    return (MARK + hashlib.file_digest(file, "sha256").hexdigest().encode() + b"\n").ljust(BLOCK, b"\0")


def open_checked(path: Path, schema: str, version: int) -> h5py.File:
    """Open read-only after checking what the file claims to be.

    Raises:
        ArtefactError: not HDF5, not what its digest says, another schema or version, incomplete, or with links out of
            the file.
    """
    if not path.is_file():
        raise ArtefactError(f"{path}: no such file. Run 'dvc repro' to make it.")
    try:
        _check_digest(path)
        file = h5py.File(path, "r", locking="best-effort")
    except OSError as error:
        raise ArtefactError(f"{path}: damaged or not HDF5 ({_brief(error)}). {REMAKE}") from error
    try:
        with reading(path):
            _check_header(path, file, schema, version)
            _check_links(path, file)
    except BaseException:
        file.close()
        raise
    return file


@contextmanager
def reading(path: Path, image: str = "") -> Iterator[None]:
    """Turn whatever HDF5 says of a damaged file into one sentence with the file and the image."""
    try:
        yield
    except (
        OSError,
        RuntimeError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        UnicodeDecodeError,
    ) as error:
        where = f"{path}: image '{image}'" if image else str(path)
        raise ArtefactError(f"{where}: damaged ({_brief(error)}). {REMAKE}") from error


def expect(condition: bool, path: Path, found: str) -> None:
    """Raise ArtefactError(``found``) unless the condition holds."""
    if not condition:
        raise ArtefactError(f"{path}: {found}. {REMAKE}")


def text_attribute(file: h5py.File, name: str) -> Any:
    """A JSON attribute, parsed."""
    return json.loads(str(file.attrs[name]))


def _check_digest(path: Path) -> None:
    """Compare with ``seal``; a file without a user block (made by hand) has no digest and is taken at its word."""
    with path.open("rb", buffering=0) as file:
        block = file.read(BLOCK)
        whole = block.startswith(SIGNATURE) or block == _block(file)
    sealed = block.startswith(MARK)
    expect(whole or not sealed, path, "damaged: its content does not match its digest")
    if not whole:
        raise ArtefactError(f"{path}: damaged or not HDF5. {REMAKE[:-1]} if it is a store; else name another.")


def _check_header(path: Path, file: h5py.File, schema: str, version: int) -> None:
    found = file.attrs.get("schema")
    if found != schema:
        raise ArtefactError(f"{path}: schema is {found!r}; expected '{schema}'. Name another file.")
    number = int(file.attrs.get("schema_version", -1))
    expect(number == version, path, f"schema version is {number}; this program reads version {version}")
    expect(int(file.attrs.get("complete", 0)) == 1, path, "not complete: its writer was stopped")


def _check_links(path: Path, group: h5py.Group) -> None:
    for name in group:
        hard = isinstance(group.get(name, getlink=True), h5py.HardLink)
        expect(hard, path, f"'{group.name}/{name}' is a link out of the file")
        item = group[name]
        if isinstance(item, h5py.Group):
            _check_links(path, item)
        else:
            inside = not item.is_virtual and not item.external
            expect(inside, path, f"dataset '{item.name}' takes its data from another file")


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
