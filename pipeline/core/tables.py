"""Small files that people and DVC read: metrics as JSON, plots as CSV; sorted and rounded, so a diff is a result."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

DIGITS = 6


def metrics_json(values: Mapping[str, Any]) -> str:
    """A flat mapping -> JSON text; NaN and None become null."""
    return json.dumps({key: _plain(value) for key, value in values.items()}, indent=1, sort_keys=True) + "\n"


def rows_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows -> CSV text with a header line; undefined values are empty."""
    listed = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in listed for key in row)), lineterminator="\n")
    writer.writeheader()
    for row in listed:
        plain = {key: _plain(value) for key, value in row.items()}
        writer.writerow({key: "" if value is None else value for key, value in plain.items()})
    return text.getvalue()


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else None
    return value
