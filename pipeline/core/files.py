"""Files that are whole or absent: write aside, fsync, rename into place, fsync the folder.

Metrics are JSON and plots are CSV, sorted and rounded, so that a diff of two files is a diff of results.
"""

import csv
import hashlib
import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fewmask.core.errors import ConfigError

DIGITS = 6  # of a number in metrics and plots


@contextmanager
def published(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it into place when the block ends well, remove it otherwise.

    Raises:
        ConfigError: ``path`` is a folder or its parent cannot be made.
    """
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; expected a file name to write.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigError(f"{path.parent}: is not a folder; move it away or choose another output.") from error
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield aside
        _sync(aside)
        os.replace(aside, path)
        _sync(path.parent)
    except OSError as error:
        if error.errno and error.filename in (None, str(aside)):  # a full disk does not say where
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        aside.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Publish ``data`` under ``path``."""
    with published(path) as aside:
        aside.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Publish ``text`` under ``path`` as UTF-8."""
    write_bytes(path, text.encode())


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def metrics_json(values: Mapping[str, Any]) -> str:
    """A flat mapping -> JSON text; NaN and None become null."""
    return json.dumps({key: _plain(value) for key, value in values.items()}, indent=1, sort_keys=True) + "\n"


def rows_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows -> CSV text with a header line; undefined values are empty."""
    listed = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in listed for key in row)), lineterminator="\n")
    writer.writeheader()
    for row in listed:
        plain = {key: _plain(value) for key, value in row.items()}
        writer.writerow({key: "" if value is None else value for key, value in plain.items()})
    return text.getvalue()


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else None
    return value


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
