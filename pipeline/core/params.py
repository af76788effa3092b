"""params.yaml, read as DVC reads it (YAML 1.2), section by section, strictly.

A stage asks for the sections that its node in dvc.yaml declares. It gives each one the schema that stands beside the
code it configures. So editing one method's schema makes only that method stale.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, Strict, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, StringMark, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.nodes import MappingNode, SequenceNode

from fewmask.core.errors import ConfigError, did_you_mean, raise_all

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
PLAIN = {  # what pydantic calls a tuple or a dictionary is written as a list or a mapping
    "tuple_type": "a list such as [height, width]",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


class Section(BaseModel):
    """Base of every schema: unknown keys refused, no silent conversion, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


T = TypeVar("T")
Seed = Annotated[NonNegativeInt, Strict()]
Size = Annotated[tuple[PositiveInt, PositiveInt], Strict(False)]  # [height, width]; YAML has lists, not tuples


class Params:
    """A parsed params file. ``section(key, Schema)`` validates one top-level key."""

    def __init__(self, path: Path):
        self.path = path
        self._tree = load_yaml(path)

    def keys(self) -> list[str]:
        return list(self._tree)

    def has(self, key: str) -> bool:
        """Whether the top level holds ``key``."""
        return key in self._tree

    def raw(self, key: str) -> Any:
        """The plain value under a dotted key such as ``auxiliary.retrain``, not validated."""
        node: Any = self._tree
        for part in key.split("."):
            if not isinstance(node, dict) or part not in node:
                known = list(node) if isinstance(node, dict) else []
                raise ConfigError(f"{self.path}: key '{key}' is missing{did_you_mean(part, known) or '; add it.'}")
            node = node[part]
        try:
            return json.loads(json.dumps(node))
        except TypeError as error:
            where = f"{self.path}:{self._line(key)}: {key}"
            plain = "texts, numbers, true or false, lists and mappings"
            raise ConfigError(f"{where}: {_first_line(error)}; expected plain {plain}. Quote dates.") from error

    def section(self, key: str, schema: Any) -> Any:
        """The value under ``key``, validated.

        Raises:
            ConfigError: one line a problem, each with the line number and what was expected.
        """
        return self._validate([key], self.raw(key), schema)

    def merged(self, keys: Sequence[str], schema: type[T]) -> T:
        """Several sections as one, validated: a later one overrides an earlier one key by key, also inside mappings.

        Raises:
            ConfigError: as ``section``.
        """
        raw: dict[str, Any] = {}
        for key in keys:
            value = self.raw(key)
            if not isinstance(value, dict):
                raise ConfigError(f"{self.path}: {key}: found {_short(value)}; expected a mapping.")
            raw = _merge(raw, value)
        return self._validate(keys, raw, schema)

    def _validate(self, keys: Sequence[str], raw: Any, schema: type[T] | Any) -> T:
        try:
            validated: T = TypeAdapter(schema).validate_python(raw)
        except ValidationError as error:
            problems: dict[str, list[str]] = {}  # the branches of a union say one thing each of the same value
            for item in error.errors():
                found, expected = self._explain(self._owner(keys, item["loc"]), raw, item, schema)
                problems.setdefault(found, []).append(expected)
            sentences = [found + " or ".join(dict.fromkeys(expected)) for found, expected in problems.items()]
            raise_all([text if text.endswith("?") else f"{text}." for text in sentences], ConfigError)
            raise
        return validated

    def _owner(self, keys: Sequence[str], loc: tuple[str | int, ...]) -> str:
        """The last of the merged sections that holds the key in question."""
        holds = [key for key in keys if loc and isinstance(raw := self.raw(key), dict) and loc[0] in raw]
        return holds[-1] if holds else keys[0]

    def _explain(self, key: str, raw: Any, item: Any, schema: Any) -> tuple[str, str]:
        steps = _written(item["loc"], raw, item["type"])
        dotted = ".".join([key, *steps])
        where = f"{self.path}:{self._line(dotted)}: {dotted}"
        if item["type"] == "extra_forbidden":
            hint = did_you_mean(steps[-1], _field_names(schema))
            return f"{where}: unknown key{hint or '; remove it'}", ""
        if item["type"] == "missing":
            return f"{where}: missing; add it", ""
        if item["type"] == "value_error":
            return f"{where}: ", item["msg"].removeprefix("Value error, ")
        expected = PLAIN.get(item["type"]) or item["msg"].removeprefix("Input should be ")
        return f"{where}: found {_short(item['input'])}; expected: ", expected

    def _line(self, dotted: str) -> int:
        node: Any = self._tree
        line = 1
        for part in dotted.split("."):
            try:
                key = int(part) if isinstance(node, list) else part
                line = (node.lc.item(key) if isinstance(node, list) else node.lc.key(key))[0] + 1  # type: ignore[attr-defined]
                node = node[key]
            except (KeyError, IndexError, ValueError, AttributeError, TypeError):
                break
        return line


def _merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = {key: _merge(under[key], over[key]) for key in under if _mappings(under[key], over.get(key))}
    return {**under, **over, **both}


def _mappings(*values: Any) -> bool:
    return all(isinstance(value, dict) for value in values)


def _written(loc: tuple[str | int, ...], raw: Any, kind: str) -> list[str]:
    """The steps of an error's path that a person wrote: pydantic puts the branches of unions into it, too."""
    steps = []
    for place, part in enumerate(loc, 1):
        here = part in raw if isinstance(raw, dict) else isinstance(raw, list) and isinstance(part, int)
        if here or (place == len(loc) and kind == "missing"):
            steps.append(str(part))
            inside = here and (isinstance(raw, dict) or int(part) < len(raw))
            raw = raw[part] if inside else None
    return steps


def _field_names(schema: Any) -> list[str]:
    """Every field name anywhere in a schema: enough to guess what a typo meant."""
    names: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, dict):
            names.update(node.get("properties", {}))
            for value in node.values():
                visit(value)
        elif isinstance(node, list):
            for value in node:
                visit(value)

    visit(TypeAdapter(schema).json_schema())
    return sorted(names)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def load_yaml(path: Path) -> CommentedMap:
    """A file of plain values under keys, with the line of each.

    Raises:
        ConfigError: no such file, no UTF-8, no YAML, a key twice, an alias, a tag, or no mapping.
    """
    text = _text(path)
    try:
        _check_events(path, text)
        tree = YAML(typ="rt").load(text)
    except DuplicateKeyError as error:
        first, second = _twice(text, error.problem_mark)
        raise ConfigError(f"{path}:{second}: this key stands in line {first} already; remove one.") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{place}: not valid YAML: {_first_line(error)}. Fix that line.") from error
    except (YAMLError, ValueError, TypeError, AttributeError) as error:  # the last three: ruamel, tripping
        raise ConfigError(f"{path}: not valid YAML: {_first_line(error)}.") from error
    if not isinstance(tree, CommentedMap):
        found = "nothing" if tree is None else f"a {type(tree).__name__}"
        raise ConfigError(f"{path}: found {found} at the top; expected keys such as 'seed:' and 'dataset:'.")
    _require_text_keys(path, tree)
    return tree


def _require_text_keys(path: Path, node: Any) -> None:
    """Refuse keys such as 1 or true, which no section has."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if isinstance(node, dict) and isinstance(key, int | float | None):
            line = node.lc.key(key)[0] + 1  # type: ignore[attr-defined]
            raise ConfigError(f"{path}:{line}: found the key {key!r}; expected text. Remove it, or quote it.")
        _require_text_keys(path, value)


def _twice(text: str, mark: StringMark) -> tuple[int, int]:
    """The lines of two equal keys of one mapping, the second of which stands at ``mark``."""
    nodes = [YAML(typ="rt").compose(text)]
    while nodes:
        node = nodes.pop()
        pairs = node.value if isinstance(node, MappingNode) else []
        second = next((key for key, _ in pairs if key.start_mark.index == mark.index), None)
        if second:
            first = next(key for key, _ in pairs if key.value == second.value)
            return first.start_mark.line + 1, mark.line + 1
        nodes += [value for _, value in pairs] + (node.value if isinstance(node, SequenceNode) else [])
    return mark.line + 1, mark.line + 1


def _first_line(error: Exception) -> str:
    text = getattr(error, "problem", None) or str(error)
    return " ".join(str(text).split())[:200]


def _text(path: Path) -> str:
    if not path.is_file():
        raise ConfigError(f"{path}: no such file. Run 'python -m stages.preset streets' to get one.")
    data = path.read_bytes()
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: {len(data)} bytes; expected a params file of at most {MAX_BYTES}.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text; save it as UTF-8.") from error
    if "\0" in text:
        raise ConfigError(f"{path}: holds NUL bytes; expected UTF-8 text.")
    return text


def _check_events(path: Path, text: str) -> None:
    """Refuse what a params file has no use for, before anything is built from it."""
    depth = documents = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        place = f"{path}:{event.start_mark.line + 1}"
        depth += isinstance(event, MappingStartEvent | SequenceStartEvent)
        depth -= isinstance(event, MappingEndEvent | SequenceEndEvent)
        documents += isinstance(event, DocumentStartEvent)
        if isinstance(event, AliasEvent):
            raise ConfigError(f"{place}: found a YAML alias (*{event.anchor}); write the value out.")
        if isinstance(event, ScalarEvent | MappingStartEvent | SequenceStartEvent) and event.tag:
            raise ConfigError(f"{place}: found the YAML tag {event.tag}; plain values only, remove it.")
        if depth > MAX_DEPTH:
            raise ConfigError(f"{place}: nested deeper than {MAX_DEPTH} levels; that cannot be a params file.")
        if documents > 1:
            raise ConfigError(f"{place}: a second YAML document; keep one.")
