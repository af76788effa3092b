"""Line charts and heat maps as inline SVG; colours and type come from the page's style sheet."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fewmask.drawing.markup import DASH, Html, join, percent, signed, tag

LEFT, RIGHT, TOP, BOTTOM = 40, 12, 10, 36
CELLS = ((12, 30), (24, 22), (math.inf, 13))  # up to so many classes, cells of this size
LEGIBLE = 20  # a smaller cell shows no number
FAINT = 0.005  # a cell below this is left blank


@dataclass(frozen=True)
class Line:
    """``y`` (n,) over ``x`` (n,), NaN = undefined; ``style``: a CSS class that gives it a colour."""

    x: np.ndarray
    y: np.ndarray
    style: str


@dataclass(frozen=True)
class Frame:
    """The plotting area: ``width`` by ``height`` in all, and the ranges of x and y."""

    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]

    def across(self, value: float) -> float:
        return LEFT + (value - self.x[0]) / (self.x[1] - self.x[0]) * (self.width - LEFT - RIGHT)

    def down(self, value: float) -> float:
        return self.height - BOTTOM - (value - self.y[0]) / (self.y[1] - self.y[0]) * (self.height - TOP - BOTTOM)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that cover ``low``..``high``, about that many."""
    rough = max(high - low, 1e-9) / about
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(place * step, 12) for place in range(first, max(last, first + 1) + 1)]


def reach(values: Sequence[np.ndarray]) -> tuple[float, float]:
    """The range of the defined values, 0 included."""
    everything = np.concatenate([np.zeros(1), *values])
    return float(np.nanmin(everything)), float(np.nanmax(everything))


def line_chart(
    lines: Sequence[Line], labels: tuple[str, str, str], size: tuple[int, int], marks: Html | str = ""
) -> Html:
    """``labels``: what the chart is, its x and its y; ``marks`` see ``mark``."""
    title, x_label, y_label = labels
    frame = frame_of(lines, size)
    paths = (tag("path", d=path(frame, line), class_=f"line {line.style}") for line in lines)
    return _svg(size, title, grid(frame), _axes(frame, x_label, y_label), *paths, marks)


def _axes(frame: Frame, x_label: str, y_label: str) -> Html:
    middle = (LEFT + frame.width - RIGHT) / 2, (TOP + frame.height - BOTTOM) / 2
    below = tag("text", x_label, x=_round(middle[0]), y=_round(frame.height - 4), class_="axis middle")
    turned = f"translate(10 {_round(middle[1])}) rotate(-90)"
    return join([below, tag("text", y_label, transform=turned, class_="axis middle")])


def frame_of(lines: Sequence[Line], size: tuple[int, int]) -> Frame:
    x, y = (ticks(*reach(values)) for values in ([line.x for line in lines], [line.y for line in lines]))
    return Frame(*size, (x[0], max(x[-1], 1e-9)), (y[0], y[-1]))


def grid(frame: Frame) -> Html:
    """Rules and numbers of both axes."""
    bottom = _round(frame.height - BOTTOM + 15)
    places = [(value, _round(frame.across(value))) for value in ticks(*frame.x)]
    across = (tag("text", signed(f"{value:g}"), x=x, y=bottom, class_="tick middle") for value, x in places)
    return join([*(_rule(frame, value) for value in ticks(*frame.y)), *across])


def _rule(frame: Frame, value: float) -> Html:
    y = _round(frame.down(value))
    rule = tag("path", d=f"M{LEFT} {y}H{_round(frame.width - RIGHT)}", class_="base" if value == 0 else "grid")
    shown = signed(f"{value:g}")
    return join([rule, tag("text", shown, x=LEFT - 6, y=_round(frame.down(value) + 4), class_="tick end")])


def path(frame: Frame, line: Line) -> str:
    """The line's pieces; an undefined value ends one, and a piece of one point is a dot."""
    pieces, pen = [], "M{} {}h0"
    for x, y in zip(line.x.tolist(), line.y.tolist(), strict=True):
        if math.isnan(y):
            pen = "M{} {}h0"
            continue
        pieces.append(pen.format(_round(frame.across(x)), _round(frame.down(y))))
        pen = "L{} {}"
    return "".join(pieces)


def mark(frame: Frame, x: float, label: str, heights: Sequence[tuple[float | None, str]]) -> Html:
    """A vertical rule at ``x`` with its label, and dots at ``heights`` (value, style)."""
    place = _round(frame.across(x))
    side, shift = ("end", -5) if frame.across(x) > frame.width / 2 else ("start", 5)
    defined = [(_round(frame.down(y)), style) for y, style in heights if y is not None]
    dots = (tag("circle", cx=place, cy=y, r=3.5, class_=style) for y, style in defined)
    rule = tag("path", d=f"M{place} {TOP}V{_round(frame.height - BOTTOM)}", class_="mark")
    named = tag("text", label, x=_round(frame.across(x) + shift), y=TOP + 10, class_=f"marked {side}")
    return join([rule, named, *dots])


def heat_map(matrix: np.ndarray, names: Sequence[str], title: str) -> Html:
    """Row-normalised ``matrix`` (C, C), row = truth; a row without pixels shows an en dash."""
    cell = next(size for classes, size in CELLS if len(names) <= classes)
    margin = 14 + 6.3 * max(len(name) for name in names)
    true = matrix.sum(1, keepdims=True)
    rates = np.divide(matrix, true, out=np.full(matrix.shape, np.nan), where=true > 0)
    side = math.ceil(margin + cell * len(names) + 2)
    cells = (_cell(rates[i, j], (i, j), names, cell) for i, j in np.ndindex(*rates.shape))
    inner = tag("g", *_names(names, cell), *cells, transform=f"translate({_round(margin)} {_round(margin)})")
    return _svg((side, side), title, inner)


def _names(names: Sequence[str], cell: int) -> list[Html]:
    """Truth at the left, prediction on top; a frame around the cells."""
    centres = [(place + 0.5) * cell + 4 for place in range(len(names))]
    left = [tag("text", name, x=-6, y=_round(at), class_="tick end") for name, at in zip(names, centres, strict=True)]
    above = [
        tag("text", name, transform=f"translate({_round(at)} -6) rotate(-90)", class_="tick")
        for name, at in zip(names, centres, strict=True)
    ]
    edge = cell * len(names)
    return [*left, *above, tag("rect", width=edge, height=edge, class_="edge")]


def _cell(rate: float, place: tuple[int, int], names: Sequence[str], cell: int) -> Html | str:
    row, column = place
    if math.isnan(rate):
        return _number(DASH, place, cell, "") if row == column else ""
    if rate < FAINT:
        return ""
    told = tag("title", f"{names[row]} \u2192 {names[column]}: {percent(rate)} %")
    shape = {"x": column * cell, "y": row * cell, "width": cell, "height": cell}
    square = tag("rect", told, **shape, class_="heat", fill_opacity=f"{rate:.2f}")
    shown = "" if cell < LEGIBLE else _number(percent(rate, 0), place, cell, "over" if rate > 0.55 else "")
    return join([square, shown])


def _number(shown: str, place: tuple[int, int], cell: int, style: str) -> Html:
    row, column = place
    return tag("text", shown, x=(column + 0.5) * cell, y=(row + 0.5) * cell + 4, class_=f"cell middle {style}".rstrip())


def _svg(size: tuple[int, int], title: str, *children: object) -> Html:
    width, height = size
    return tag("svg", *children, viewBox=f"0 0 {width} {height}", width=width, role="img", aria_label=title)


def _round(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
