"""Metrics and plots that diff: sorted, rounded, undefined values as null or empty."""

import json

import numpy as np

from fewmask.core.files import metrics_json, rows_csv


def test_metrics_are_sorted_rounded_and_strict_json() -> None:
    text = metrics_json({"b": 1 / 3, "a": float("nan"), "c": None, "d": np.int64(7), "e": np.float32(0.5), "f": np.inf})
    assert json.loads(text, parse_constant=lambda name: 1 / 0) == {
        "a": None,
        "b": 0.333333,
        "c": None,
        "d": 7,
        "e": 0.5,
        "f": None,
    }
    assert text.index('"a"') < text.index('"b"') < text.index('"c"')
    assert text.endswith("}\n")


def test_rows_share_one_header_and_leave_undefined_cells_empty() -> None:
    rows = [{"class": "sky", "iou": 2 / 3}, {"class": "a,b", "iou": float("nan"), "pixels": np.int64(3)}]
    assert rows_csv(rows) == 'class,iou,pixels\nsky,0.666667,\n"a,b",,3\n'
