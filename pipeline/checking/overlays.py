"""Params as they are written: keys with their comments, merged key by key, and written as by hand."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from textwrap import wrap
from typing import Any

from ruamel.yaml import YAML

from fewmask.core.errors import ConfigError, did_you_mean

DEFAULT = "default"  # the value that removes a key
KINDS = ("name", "kind")  # they say what the other keys of their mapping mean
COMMENT = re.compile(r"""(?:[^"'#]|"[^"]*"|'[^']*'|(?<=\S)#)*?\s(#.*)""")  # behind a value
WIDTH = 10_000  # columns: no value is wrapped
LINE = 100  # but lists between their items


@dataclass(frozen=True)
class Entry:
    """What stands under a key: a mapping of entries or a plain value, and the comments above and behind it."""

    value: Any
    above: tuple[str, ...] = ()
    comment: str = ""


Tree = dict[str, Entry]


def tree_of(loaded: dict[str, Any], lines: Sequence[str] = ()) -> Tree:
    """A loaded mapping with the comments of its ``lines``."""
    return {key: entry_of(loaded, key, lines) for key in loaded}


def entry_of(loaded: Any, key: str, lines: Sequence[str]) -> Entry:
    """One key of it; a comment belongs to the first key of its line."""
    value = tree_of(loaded[key], lines) if isinstance(loaded[key], dict) else loaded[key]
    row, column = loaded.lc.key(key) if lines else (0, 0)
    if not lines or lines[row][:column].strip():
        return Entry(value)
    return Entry(value, above(lines[:row]), behind(lines[row]))


def above(lines: Sequence[str]) -> tuple[str, ...]:
    """The comment in the last lines."""
    texts = [line.strip() for line in lines]
    start = next((row for row in range(len(texts), 0, -1) if not texts[row - 1].startswith("#")), 0)
    return tuple(texts[start:])


def behind(line: str) -> str:
    found = COMMENT.match(line)
    return f"  {found[1]}" if found else ""


def merge(under: Tree, over: Tree, depth: int = 0, at: str = "") -> Tree:
    """``over`` on ``under``, key by key. Of what another name or kind starts afresh, mappings that have one stay.

    Raises:
        ConfigError: ``under`` lacks a key that is to be removed, or one of the first ``depth`` levels, below ``at``.
    """
    afresh = starts_afresh(under, over)
    merged = {key: entry for key, entry in under.items() if not afresh or has_kind(entry.value)}
    order = [*over, *merged] if afresh else [*merged, *over]
    for key, entry in over.items():
        if key not in under and (depth > 0 or entry.value == DEFAULT):
            raise ConfigError(f"{at}{key}: not in its base{did_you_mean(key, under) or '; correct or remove it.'}")
        is_mapping = isinstance(entry.value, dict)
        merged[key] = merge_mapping(merged.get(key), entry, depth - 1, f"{at}{key}.") if is_mapping else entry
    return {key: merged[key] for key in order if merged[key].value != DEFAULT}


def merge_mapping(below: Entry | None, entry: Entry, depth: int, at: str) -> Entry:
    """A mapping keeps its comments, unless the overlay has others or starts it afresh."""
    under = below.value if below and isinstance(below.value, dict) else {}
    value = merge(under, entry.value, depth, at)
    keeps = below and under and not (entry.above or entry.comment or starts_afresh(under, entry.value))
    return Entry(value, below.above, below.comment) if below and keeps else Entry(value, entry.above, entry.comment)


def starts_afresh(under: Tree, over: Tree) -> bool:
    return any(kind in under and kind in over and under[kind].value != over[kind].value for kind in KINDS)


def has_kind(value: Any) -> bool:
    return isinstance(value, dict) and any(kind in value for kind in KINDS)


def lines_of(tree: Tree, indent: str = "") -> Iterator[str]:
    """A params file, block by block; lists stand in a line, long ones in several."""
    for key, entry in tree.items():
        yield from (indent + line for line in entry.above)
        nested = isinstance(entry.value, dict) and entry.value
        value = "" if nested else f" {in_a_line(entry.value)}"
        line = f"{indent}{in_a_line(str(key))}:{value}"
        *first, last = wrap(line, LINE, subsequent_indent=f"{indent}  ") if isinstance(entry.value, list) else [line]
        yield from [*first, last + entry.comment]
        if nested:
            yield from lines_of(nested, f"{indent}  ")


def in_a_line(value: Any) -> str:
    """``null``, ``0.00003``, ``[1.0, 2.0]``, ``'*gate.'``: a value as YAML, its numbers as they were written."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{', '.join(in_a_line(item) for item in value)}]"
    yaml, stream = YAML(), StringIO()
    yaml.default_flow_style, yaml.width = True, WIDTH
    yaml.dump([value], stream)
    return stream.getvalue().strip()[1:-1]
