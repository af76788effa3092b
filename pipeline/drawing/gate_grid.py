"""The ways through a routing network as a picture: cells are dots, layers go from left to right, fine levels on top."""

from collections.abc import Sequence
from typing import Any

from fewmask.drawing.markup import Html, join, percent, tag

STEP, LEFT, TOP, RADIUS = (46, 46), 74, 26, 8
FAINT = 0.08  # how much a closed path shows
LEVELS = {"keep": 0, "up": -1, "down": 1}
STYLE = (
    ".route{stroke:#2563c4;stroke-width:2.5}.place{fill:#2563c4;stroke:#2563c4;stroke-width:1}"
    ".rank{font:11px system-ui,sans-serif;fill:#616c7c}"
)


def drawing(rows: Sequence[dict[str, Any]]) -> Html:
    """A self-contained SVG of scoring/gates.py's rows: a path is as dark as its mean gate, a cell as it was in use."""
    if not rows:
        return _svg((320, 40), tag("text", "This network has no gates.", x=8, y=24, class_="rank"))
    layers, levels = (1 + max(int(row[key]) for row in rows) for key in ("layer", "level"))
    size = (LEFT + STEP[0] * layers, TOP + STEP[1] * levels + 10)
    paths = [_path(row, path) for row in rows for path in LEVELS if row[path] is not None and row["layer"] < layers - 1]
    strides = [
        tag("text", f"stride {4 * 2**level}", x=6, y=_at(0, level)[1] + 4, class_="rank") for level in range(levels)
    ]
    numbers = [
        tag("text", layer, x=_at(layer, 0)[0], y=14, class_="rank", text_anchor="middle") for layer in range(layers)
    ]
    return _svg(size, join([*strides, *numbers, *paths, *(_cell(row) for row in rows)]))


def _at(layer: int, level: int) -> tuple[int, int]:
    return LEFT + STEP[0] * layer + STEP[0] // 2, TOP + STEP[1] * level + STEP[1] // 2


def _path(row: dict[str, Any], path: str) -> Html:
    layer, level = int(row["layer"]), int(row["level"])
    (x, y), (to_x, to_y) = _at(layer, level), _at(layer + 1, level + LEVELS[path])
    told = tag("title", f"layer {layer}, stride {4 * 2**level}, {path}: mean gate {row[path]:.2f}")
    shown = FAINT + (1 - FAINT) * min(row[path], 1)  # the factors of a fixed network have no bound
    return tag("line", told, x1=x, y1=y, x2=to_x, y2=to_y, class_="route", stroke_opacity=f"{shown:.2f}")


def _cell(row: dict[str, Any]) -> Html:
    x, y = _at(int(row["layer"]), int(row["level"]))
    told = tag("title", f"layer {row['layer']}, stride {4 * 2 ** int(row['level'])}: used by {percent(row['open'])} %")
    back = tag("circle", cx=x, cy=y, r=RADIUS, style="fill:#fff")  # no attribute: a page's own style would win
    return join([back, tag("circle", told, cx=x, cy=y, r=RADIUS, class_="place", fill_opacity=f"{row['open']:.2f}")])


def _svg(size: tuple[int, int], inside: Html) -> Html:
    width, height = size
    ground = tag("rect", width=width, height=height, fill="#fff")
    label = "Ways through the network: layers from left to right, levels from fine to coarse"
    content = (tag("style", Html(STYLE)), ground, inside)
    named = {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {width} {height}", "width": width}
    return tag("svg", *content, **named, role="img", aria_label=label)
