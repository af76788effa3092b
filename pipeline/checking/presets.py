"""Presets: whole params files, each written as what it changes in another (docs/presets.md).

A file of presets/ names its ``base``, another of them, or is whole. A table, presets/FOLDER/table.yaml, has a preset in
each of its ``rows``: the values of its ``columns``, which are ``base`` and dotted keys.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, reduce
from pathlib import Path
from typing import Any

from fewmask.checking.overlays import Tree, lines_of, merge, tree_of
from fewmask.core.errors import ConfigError, did_you_mean
from fewmask.core.params import load_yaml

PRESETS = Path(__file__).resolve().parents[2] / "presets"
HEAD = "# Preset `{}` (python -m stages.preset NAME). `python -m stages.check` finds mistakes."
ALL = 99  # levels


@dataclass(frozen=True)
class Overlay:
    """A file or a row as it is written: what is merged into its base, which must have the keys of ``depth`` levels."""

    where: str
    base: Any
    trees: list[Tree]
    depth: int
    header: tuple[str, ...] = ()


def read_preset(name: str, folder: Path = PRESETS, needed: Iterable[str] = ()) -> str:
    """The whole params file of a preset, in the order and with the comments of its bases.

    Raises:
        ConfigError: there is none; a file or a table is malformed; a base is unknown or in a circle, or lacks a key;
            a ``needed`` dotted key is missing.
    """
    known = names_of_presets(folder)
    if name not in known:
        hint = did_you_mean(name, known, 3) or "."
        raise ConfigError(f"{folder}: no preset '{name}'{hint} 'python -m stages.preset' without a name lists all.")
    overlay = read_rows(folder).get(name) or read_file(folder, name)
    tree, header = resolve(overlay, folder, [name])
    lacking = [key for key in needed if not holds(tree, key)]
    if missing := dict.fromkeys(
        key if holds(tree, key.partition(".")[0]) else key.partition(".")[0] for key in lacking
    ):
        expected = "expected every key that dvc.yaml reads. Add them, or take them over with 'base: streets'"
        raise ConfigError(f"{overlay.where}: lacks {', '.join(missing)}; {expected}.")
    sections = ["\n".join(lines_of({key: entry})) for key, entry in tree.items()]
    return "\n".join([HEAD.format(name), *header, "\n\n".join(sections), ""])


def holds(tree: Tree, key: str) -> bool:
    """Whether a tree has a dotted key."""
    first, _, rest = key.partition(".")
    return first in tree and (not rest or (isinstance(tree[first].value, dict) and holds(tree[first].value, rest)))


def names_of_presets(folder: Path) -> list[str]:
    """Files first, then the rows of each table."""
    return [*names_of_files(folder), *read_rows(folder)]


def names_of_files(folder: Path) -> list[str]:
    """The presets that are files: those of the folder itself, not of its subfolders."""
    return [path.stem for path in sorted(folder.glob("*.yaml"))]


def is_preset(data: bytes, folder: Path = PRESETS) -> bool:
    """Whether a params file is just what its first line names."""
    name = data.decode(errors="replace").partition("`")[2].partition("`")[0]
    try:
        return read_preset(name, folder).encode() == data
    except ConfigError:
        return False


def resolve(overlay: Overlay, folder: Path, chain: list[str]) -> tuple[Tree, tuple[str, ...]]:
    """An overlay on its bases, and the nearest header; ``chain`` has the names on the way."""
    if overlay.base is None:
        return overlay.trees[0], overlay.header
    base = require_base(overlay, folder, chain)
    under, header = resolve(read_file(folder, base), folder, [*chain, base])
    try:
        tree = reduce(lambda below, over: merge(below, over, overlay.depth), overlay.trees, under)
    except ConfigError as error:
        raise ConfigError(f"{overlay.where}: {error}") from error
    return tree, overlay.header or header


def require_base(overlay: Overlay, folder: Path, chain: list[str]) -> str:
    """The name of an overlay's base.

    Raises:
        ConfigError: there is no such file, or it is in the ``chain``.
    """
    base = str(overlay.base)
    if base in chain:
        circle = " -> ".join([*chain, base])
        raise ConfigError(f"{overlay.where}: base: found the circle {circle}; expected a whole file at its end.")
    if not (folder / f"{base}.yaml").is_file():
        files = [path.relative_to(folder).with_suffix("").as_posix() for path in sorted(folder.rglob("*.yaml"))]
        hint = did_you_mean(base, files) or f" such as {', '.join(files[:3])}."
        raise ConfigError(f"{overlay.where}: base: found '{base}'; expected a file of {folder}{hint}")
    return base


@cache  # presets share their bases
def read_file(folder: Path, name: str) -> Overlay:
    """One file of presets/; its header is the comment in its first lines."""
    path = folder / f"{name}.yaml"
    loaded = load_yaml(path)
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    end = next(row for row, line in enumerate(lines) if not line.startswith("#"))
    tree = tree_of(loaded, lines)
    base = tree.pop("base").value if "base" in tree else None
    return Overlay(str(path), base, [tree], 1, tuple(lines[:end]))


@cache
def read_rows(folder: Path = PRESETS) -> dict[str, Overlay]:
    """The rows of all tables by name.

    Raises:
        ConfigError: a file is no table, a row is not as long as the columns, or its name is another preset's.
    """
    found: dict[str, Overlay] = {}
    for path in sorted(folder.glob("*/table.yaml")):
        table = load_yaml(path)
        columns, rows = table.get("columns"), table.get("rows")
        is_list = isinstance(columns, list) and all(isinstance(column, str) for column in columns)
        if not (is_list and columns.count("base") == 1 < len(columns) == len({*columns}) and isinstance(rows, dict)):
            expected = (
                "'columns', a list of 'base' and dotted keys, each once, and 'rows', a list of values under each name"
            )
            raise ConfigError(f"{path}: found no table; expected {expected}, as in presets/three_stage/table.yaml.")
        for name, row in rows.items():
            if name in found:
                raise ConfigError(f"{path}: {name}: this name stands in another table already; rename one row.")
            if name in names_of_files(folder):
                raise ConfigError(f"{path}: {name}: this name is that of {folder}/{name}.yaml already; rename the row.")
            found[name] = row_of(f"{path}: {name}", columns, row)
    return found


def row_of(where: str, columns: list[str], row: Any) -> Overlay:
    """One row of a table; each value is merged by itself."""
    if not (isinstance(row, list) and len(row) == len(columns)):
        found = f"{len(row)} values" if isinstance(row, list) else repr(row)
        raise ConfigError(f"{where}: found {found}; expected a list of {len(columns)}, one for each column.")
    cells = dict(zip(columns, row, strict=True))
    base = cells.pop("base")
    if not isinstance(base, str):
        raise ConfigError(
            f"{where}: base: found {base!r}; expected the name of a preset's file, such as three_stage/voc."
        )
    return Overlay(where, base, [nested(column, value) for column, value in cells.items()], ALL)


def nested(column: str, value: Any) -> Tree:
    """``a.b`` and 1 -> {a: {b: 1}}."""
    for key in reversed(column.split(".")):
        value = {key: value}
    return tree_of(value)
