"""Image-level labels: which classes a training image shows, said of images whose masks need not be known."""

import csv
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fewmask.core.errors import SHOWN, DataError, did_you_mean, raise_all
from fewmask.datasets.base.dataset import MASKS, DomainConfig, Sample
from fewmask.stores.images import BACKGROUND


@dataclass(frozen=True)
class Tags:
    """What is said of training images, by a list (id -> numbers of classes) or by their masks; of others nothing is."""

    classes: int
    listed: dict[str, frozenset[int]] = field(default_factory=dict)
    by_mask: bool = False

    def of(self, sample: Sample, mask: np.ndarray | None) -> np.ndarray | None:
        """(C,) uint8, 1 for each class that the image shows and 0 for the others; None where nobody said."""
        if self.by_mask and mask is not None and sample.role == "train":
            shown = np.isin(np.arange(self.classes), mask).astype(np.uint8)
            return shown if shown.any() else None
        if sample.id not in self.listed:
            return None
        return np.isin(np.arange(self.classes), list(self.listed[sample.id])).astype(np.uint8)

    def count(self, train: Iterable[Sample]) -> int:
        """Of how many training images something is said; nothing is decoded (drawn ones all have masks)."""
        return sum(s.id in self.listed or (self.by_mask and (s.mask is not None or s.image is None)) for s in train)


def read_tags(config: DomainConfig, classes: Sequence[str], samples: Iterable[Sample]) -> Tags:
    """The tags that ``dataset.tags`` names, of a data set's ``samples``.

    Raises:
        DataError: one line a problem: no such file, a file that DVC does not watch or that is no text; in it no line,
            an unknown class or image, an image that is held out, or one that stands twice.
    """
    if config.tags is None or config.tags == MASKS:
        return Tags(len(classes), by_mask=config.tags == MASKS)
    root, path = Path(config.root), Path(config.root, config.tags)
    if not path.resolve().is_relative_to(root.resolve()):
        expected = f"expected a file below dataset.root, {root}, as DVC watches nothing else"
        raise DataError(f"dataset.tags: '{config.tags}' leads outside; {expected}. Move it there, name it from there.")
    if not path.is_file():
        expected = f"expected a CSV file below dataset.root, named from there, or '{MASKS}'"
        raise DataError(f"{path}: no such file; {expected}. Fix dataset.tags.")
    return Tags(len(classes), _listed(path, classes, {sample.id: sample.role for sample in samples}))


def _listed(path: Path, classes: Sequence[str], roles: dict[str, str]) -> dict[str, frozenset[int]]:
    """Id -> numbers of its classes, of each line of the file."""
    numbers = {unicodedata.normalize("NFC", name): number for number, name in enumerate(classes)}
    lines: dict[str, int] = {}
    found: dict[str, frozenset[int]] = {}
    problems: list[str] = []
    for line, (name, *shown) in _rows(path, roles):
        where = f"{path}:{line}: '"
        if name not in roles:
            hint = ", cells apart by commas." if not shown and {";", "\t"} & set(name) else _hint(name, roles, problems)
            problems.append(f"{where}{name}' is no image; expected an id{hint} Fix the line.")
        elif roles[name] != "train":
            problems.append(f"{where}{name}' is held out ({roles[name]}); expected training images. Remove the line.")
        elif name in lines:
            problems.append(f"{where}{name}' stands in line {lines[name]} already; expected it once. Remove one.")
        lines.setdefault(name, line)
        for odd in sorted(set(shown) - numbers.keys() - {""}):
            problems.append(f"{where}{odd}' is no class; expected a class{_hint(odd, numbers, problems)} Fix the line.")
        found[name] = frozenset(numbers[each] for each in {*shown, BACKGROUND} & numbers.keys())
    raise_all(problems, DataError)
    if not found:
        raise DataError(f"{path}: tags no image; expected lines 'id,class,class'. Fill it, or set dataset.tags: null.")
    return found


def _rows(path: Path, known: Iterable[str]) -> list[tuple[int, list[str]]]:
    """Number and cells of each line that holds any, without the header."""
    try:
        text = unicodedata.normalize("NFC", path.read_text(encoding="utf-8-sig"))
        if "\0" in text:
            raise csv.Error("a NUL byte")
        cells = [next(csv.reader([line], skipinitialspace=True), []) for line in text.splitlines()]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not text; expected lines 'id,class,class'. Save it as CSV, UTF-8.") from error
    odd = [number for number, line in enumerate(text.splitlines(), 1) if line.count('"') % 2]
    raise_all([f"{path}:{number}: a quote without its end; expected two. Close it." for number in odd], DataError)
    rows = [(number, [cell.strip() for cell in row]) for number, row in enumerate(cells, 1) if "".join(row).strip()]
    header = bool(rows) and rows[0][1][0] == "id" and len(rows[0][1]) > 1 and "id" not in known
    return rows[1:] if header else rows


def _hint(word: str, known: Iterable[str], before: list[str]) -> str:
    """``, did you mean 'road'?`` or an example; no search behind so many problems that it would not be shown."""
    hint = did_you_mean(word, known) if len(before) < SHOWN else ""
    return hint or f" such as '{next(iter(known), 'ID')}'."
