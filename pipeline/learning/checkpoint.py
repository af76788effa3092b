"""Checkpoints of a running training: kept in scratch, checked by digest, the last two kept.

A checkpoint holds plain types and tensors only, so it loads with ``weights_only=True``. The digest beside it is
written last: a file without a matching digest does not count.
"""

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from fewmask.core.errors import ArtefactError
from fewmask.core.files import write_bytes, write_text
from fewmask.core.progress import warn

KEEP = 2


def save(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Publish ``state`` as the checkpoint after ``step`` steps and remove all but the last two."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path = folder / f"step-{step:08d}.pt"
    write_bytes(path, buffer.getvalue())
    write_text(path.with_suffix(".sha256"), hashlib.sha256(buffer.getbuffer()).hexdigest())
    for old in sorted(folder.glob("step-*.pt"))[:-KEEP]:
        old.with_suffix(".sha256").unlink(missing_ok=True)
        old.unlink(missing_ok=True)


def load_newest(folder: Path) -> dict[str, Any] | None:
    """The newest sound checkpoint, on the CPU; None where there is none at all.

    Raises:
        ArtefactError: there are checkpoints, but none is sound.
    """
    found = sorted(folder.glob("step-*.pt"), reverse=True)
    for path in found:
        data = path.read_bytes()
        digest = path.with_suffix(".sha256")
        if digest.is_file() and digest.read_text() == hashlib.sha256(data).hexdigest():
            state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            return state
        warn(f"{path}: damaged or unfinished checkpoint; taking the one before it")
    if found:
        raise ArtefactError(
            f"{folder}: none of its {len(found)} checkpoints is sound. Delete the folder and run again."
        )
    return None
