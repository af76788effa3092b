"""Scores do not outlive their images: `dvc metrics show` lists every file that is there, whatever it was made of.

dvc.lock says from which images each stage last worked. Files that git holds and no cache keeps (metrics and plots) stay
in the folder when the data set changes. Whoever then runs one method would see the others' scores of other images.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import yaml

from fewmask.core.errors import ConfigError

LOCK = Path("dvc.lock")


def remove_old_scores(images: Path, lock: Path = LOCK) -> list[Path]:
    """Delete the metrics and plots of stages that last ran on other images than ``images`` now holds.

    Returns what was deleted. Git, and DVC's run cache, still have it. Without a dvc.lock nothing is deleted.

    Raises:
        ConfigError: dvc.lock is no YAML, as with conflicts of git in it.
    """
    stages = locked_stages(lock)
    with images.open("rb") as file:
        digest = hashlib.file_digest(file, "md5").hexdigest()  # as DVC names contents
    old = [stage for stage in stages.values() if _digests(stage).get(images.as_posix(), digest) != digest]
    paths = [Path(out["path"]) for stage in old for out in stage.get("outs", [])]
    found = [path for path in paths if path.parts[0] == "metrics" and path.exists()]
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


def _digests(stage: dict[str, Any]) -> dict[str, str]:
    return {dep["path"]: dep.get("md5", "") for dep in stage.get("deps", [])}
