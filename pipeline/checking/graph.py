"""dvc.yaml as DVC takes it: every node by its name, those of a `foreach` written out.

DVC's own resolver (dvc.parsing) would fail where params.yaml lacks a key that dvc.yaml names. `check` must then list
the problems, and of a params file anywhere. So what stands in params.yaml is left as it is here.
"""

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from fewmask.core.errors import ConfigError

VARIABLE = re.compile(r"\$\{(key|item)\}")


def nodes(graph: Path) -> dict[str, dict[str, Any]]:
    """Name -> body, with ${key} and ${item} of a `foreach` replaced; what comes from params.yaml stays as it is.

    Raises:
        ConfigError: the file is missing or no YAML.
    """
    if not graph.is_file():
        raise ConfigError(f"{graph}: no such file. Run this in the project's root folder.")
    try:
        tree = YAML(typ="safe").load(graph.read_text())
    except YAMLError as error:
        raise ConfigError(f"{graph}: not valid YAML; 'dvc stage list' says where. Fix it.") from error
    stages = tree.get("stages") if isinstance(tree, dict) else None
    if not isinstance(stages, dict) or not all(isinstance(stage, dict) for stage in stages.values()):
        raise ConfigError(
            f"{graph}: found no stages; expected a mapping of them under 'stages', as DVC has it. Fix it."
        )
    found: dict[str, dict[str, Any]] = {}
    for name, stage in stages.items():
        if "foreach" not in stage:
            found[name] = stage
            continue
        each = stage["foreach"]
        items = each if isinstance(each, dict) else {str(item): item for item in each}
        found |= {f"{name}@{key}": _filled(stage["do"], {"key": key, "item": item}) for key, item in items.items()}
    return found


def declared(graph: dict[str, dict[str, Any]]) -> list[str]:
    """The dotted keys of params.yaml that its nodes declare: without one of them DVC does not run."""
    return sorted({key for node in graph.values() for key in node.get("params", [])})


def _filled(part: Any, values: dict[str, Any]) -> Any:
    if isinstance(part, dict):
        return {_filled(key, values): _filled(value, values) for key, value in part.items()}
    if isinstance(part, list):
        return [_filled(value, values) for value in part]
    return VARIABLE.sub(lambda match: str(values[match[1]]), part) if isinstance(part, str) else part
