"""Scores do not outlive their images: `dvc metrics show` lists every file that is there, whatever it was made of.

dvc.lock says from which images and split each stage last worked. Files that git holds and no cache keeps (metrics and
plots) stay in the folder when these change. Whoever then runs one method would see the others' scores of other images.
"""

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from fewmask.core.errors import ConfigError

LOCK = Path("dvc.lock")
METRICS = Path("metrics")


def remove_old_scores(inputs: Sequence[Path], lock: Path = LOCK) -> list[Path]:
    """Delete the metrics and plots of stages that last read other contents of ``inputs``, the images and their split.

    Returns what was deleted. Git, and DVC's run cache, still have it. Without a dvc.lock nothing is deleted.

    Raises:
        ConfigError: dvc.lock is no YAML, as with conflicts of git in it.
    """
    now = {path.as_posix(): _md5(path) for path in inputs}
    old = [stage for stage in locked_stages(lock).values() if _differs(stage, now)]
    paths = [Path(os.path.normpath(out["path"])) for stage in old for out in _entries(stage, "outs")]
    found = [path for path in paths if METRICS in path.parents and path.exists()]
    for path in found:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return found


def locked_stages(lock: Path) -> dict[str, dict[str, Any]]:
    """What DVC noted of each stage's last run; nothing where there is no note."""
    if not lock.is_file():
        return {}
    try:
        tree = yaml.load(lock.read_text(), yaml.CSafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        remedy = "Resolve its conflicts, or delete it and run 'dvc repro'."
        raise ConfigError(f"{lock}: not valid YAML; expected the file that DVC writes. {remedy}") from error
    stages = tree.get("stages") if isinstance(tree, dict) else None
    return (
        {name: stage for name, stage in stages.items() if isinstance(stage, dict)} if isinstance(stages, dict) else {}
    )


def _differs(stage: dict[str, Any], now: dict[str, str]) -> bool:
    """Whether a stage read one of these files, by path and digest, when it had other contents."""
    return any(now.get(dep["path"], dep.get("md5")) != dep.get("md5") for dep in _entries(stage, "deps"))


def _entries(stage: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """The ``deps`` or ``outs`` of a stage that have a path."""
    entries = stage.get(kind)
    found = entries if isinstance(entries, list) else []
    return [entry for entry in found if isinstance(entry, dict) and isinstance(entry.get("path"), str)]


def _md5(path: Path) -> str:
    """As DVC names contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
