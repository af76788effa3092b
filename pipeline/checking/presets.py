"""Presets: the params files of presets/, and the rows of its tables, one for each cell of a paper's results.

A table is presets/FOLDER/table.yaml. Its ``columns`` are ``base``, a params file beside it, and dotted keys; each of
its ``rows`` is a preset: the base, comments and all, with the row's values under these keys. A null leaves a key out;
a mapping stands in one line.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.representer import RoundTripRepresenter

from fewmask.core.errors import ConfigError

PRESETS = Path(__file__).resolve().parents[2] / "presets"
WIDTH = 200  # of a line before a list is wrapped


class Representer(RoundTripRepresenter):
    """Writes ``null``, not nothing."""


Representer.add_representer(type(None), lambda self, _: self.represent_scalar("tag:yaml.org,2002:null", "null"))


@dataclass(frozen=True)
class Cell:
    """One row of a table."""

    table: Path
    name: str
    base: str
    values: dict[str, Any]

    def tree(self) -> Any:
        """Its params, in the order and with the comments of the base.

        Raises:
            ConfigError: a column's key is not in the base.
        """
        path = self.table.with_name(f"{self.base}.yaml")
        params = YAML().load(path.read_text())
        for key, value in self.values.items():
            *above, last = key.split(".")
            node = params
            for part in above:
                node = node.get(part, {})
            if last not in node:
                raise ConfigError(f"{path}: has no key '{key}'; expected every column of {self.table}. Add the key.")
            if value is None:
                del node[last]
            else:
                node[last] = _in_a_line(value) if isinstance(value, dict) else value
        return params

    def read_bytes(self) -> bytes:
        """Its params file, as a file of that name would have it; errors as ``tree``."""
        yaml = YAML()
        yaml.Representer, yaml.width = Representer, WIDTH
        stream = StringIO()
        yaml.dump(self.tree(), stream)
        folder = self.table.parent.name
        head = f"# {self.name}: presets/{folder}/{self.base}.yaml with its row of table.yaml.\n"
        return (head + stream.getvalue()).encode()


def _in_a_line(values: dict[str, Any]) -> CommentedMap:
    """A copy that is written ``{key: value}``; a block would swallow the blank line that follows."""
    mapping = CommentedMap(values)
    mapping.fa.set_flow_style()
    return mapping


def find_cells(folder: Path = PRESETS) -> dict[str, Cell]:
    """Every row of every table, by name.

    Raises:
        ConfigError: a row is not as long as the columns.
    """
    cells = {}
    for path in sorted(folder.glob("*/table.yaml")):
        table = YAML(typ="safe").load(path.read_text())
        for name, row in table["rows"].items():
            if len(row) != len(table["columns"]):
                found = f"{len(row)} values for {len(table['columns'])} columns"
                raise ConfigError(f"{path}: {name}: {found}; expected one each. Mend the row.")
            values = dict(zip(table["columns"], row, strict=True))
            cells[name] = Cell(path, name, values.pop("base"), values)
    return cells


def find_presets(folder: Path = PRESETS) -> dict[str, Path | Cell]:
    """What has the params file of every preset, by name; errors as ``find_cells``."""
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))} | find_cells(folder)


def is_preset(data: bytes, presets: Mapping[str, Path | Cell]) -> bool:
    """Whether it is a file of presets/, or the cell that its first line names."""
    named = data.partition(b":")[0].decode(errors="replace").removeprefix("# ")
    alike = [preset for name, preset in presets.items() if isinstance(preset, Path) or name == named]
    return any(preset.read_bytes() == data for preset in alike)
