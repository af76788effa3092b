"""Scores do not outlive their images: `dvc metrics show` lists every file that is there, whatever it was made of.

dvc.lock says from which images each stage last worked. Files that git holds and no cache keeps (metrics and plots) stay
in the folder when the data set changes. Whoever then runs one method would see the others' scores of other images.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import yaml

LOCK = Path("dvc.lock")


def remove_old_scores(images: Path, lock: Path = LOCK) -> list[Path]:
    """Delete the metrics and plots of stages that last ran on other images than ``images`` now holds.

    Returns what was deleted. Git, and DVC's run cache, still have it. Without a dvc.lock nothing is deleted.
    """
    stages = yaml.load(lock.read_text(), yaml.CSafeLoader).get("stages", {}) if lock.is_file() else {}
    with images.open("rb") as file:
        digest = hashlib.file_digest(file, "md5").hexdigest()  # as DVC names contents
    old = [stage for stage in stages.values() if _digests(stage).get(images.as_posix(), digest) != digest]
    paths = [Path(out["path"]) for stage in old for out in stage.get("outs", [])]
    found = [path for path in paths if path.parts[0] == "metrics" and path.exists()]
    for path in found:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return found


def _digests(stage: dict[str, Any]) -> dict[str, str]:
    return {dep["path"]: dep.get("md5", "") for dep in stage.get("deps", [])}
