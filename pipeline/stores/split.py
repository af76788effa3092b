"""``data/split.json``: which image has which use. It is made by pipeline/splitting.py and read by every later stage."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from fewmask.core.errors import ArtefactError

SCHEMA, VERSION = "fewmask-split", 1


@dataclass(frozen=True)
class Split:
    """Ids by use. ``evaluated`` says which role of the data set plays the test."""

    seed: int
    labelled: list[str]
    unlabelled: list[str]
    validation: list[str]
    test: list[str]
    evaluated: str
    warnings: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """How many images are what, in words."""
        parts = f"{len(self.labelled)} labelled, {len(self.unlabelled)} unlabelled, {len(self.validation)} validation"
        return f"{parts}, {len(self.test)} to evaluate on (from {self.evaluated})"

    def dump(self) -> str:
        return json.dumps({"schema": SCHEMA, "schema_version": VERSION, **asdict(self)}, indent=1) + "\n"

    @property
    def digest(self) -> str:
        """SHA-256 of everything in it: which images a network of this split may have seen."""
        return hashlib.sha256(self.dump().encode()).hexdigest()

    @classmethod
    def load(cls, path: Path) -> "Split":
        """Read a split file.

        Raises:
            ArtefactError: not a split file of this version.
        """
        try:
            raw: dict[str, Any] = json.loads(path.read_text())
            if (raw.pop("schema"), raw.pop("schema_version")) != (SCHEMA, VERSION):
                raise ValueError("another schema")
            split = TypeAdapter(cls).validate_python(raw)
            lists = [*split.labelled, *split.unlabelled, *split.validation, *split.test]
            if len(set(lists)) < len(lists):
                raise ValueError("an image has two uses")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:120]
            raise ArtefactError(
                f"{path}: not a split file ({reason}). Run 'dvc repro split' to make it again."
            ) from error
        return split
