"""Curves over the threshold, and over the training."""

import numpy as np

from fewmask.drawing.markup import Html, bar, join, number, percent, swatch, tag
from fewmask.reporting.charts import Line, frame_of, line_chart, mark
from fewmask.reporting.results import Chosen, History, Study

CURVES = (
    ("pixel_accuracy", "accuracy of the kept pixels", "s1"),
    ("miou", "mIoU of the kept pixels", "s2"),
    ("average_semi_ratio", "average class semi ratio", "s3"),
    ("selected_pixels", "selected pixels", "s4"),
)
WIDE, PANEL = (560, 330), (340, 210)


def selection(study: Study) -> Html:
    """The measures against the threshold, and what the chosen one keeps of each class."""
    chosen = study.chosen
    if chosen is None:
        return tag("p", "No selection was given.", class_="muted")
    return tag("div", _threshold_chart(chosen), _kept_by_class(study, chosen), class_="beside")


def _threshold_chart(chosen: Chosen) -> Html:
    x, at = chosen.curve["threshold"], chosen.summary["effective_threshold"]
    lines = [Line(x, chosen.curve[key], style) for key, _, style in CURVES]
    heights = [(chosen.summary.get(key), style) for key, _, style in CURVES]
    marks = mark(frame_of(lines, WIDE), at, f"threshold {at:g}", heights)
    title = "Selection measures against the threshold"
    chart = line_chart(lines, (title, "confidence threshold", "share"), WIDE, marks)
    keys = (_key(name, style, percent(chosen.summary.get(key)) + " %") for key, name, style in CURVES)
    return tag("figure", tag("div", *keys, class_="keys"), chart)


def _key(name: str, style: str, value: str = "") -> Html:
    return tag("span", tag("i", class_=f"stroke {style}"), name, " " if value else "", tag("b", value), class_="key")


def _kept_by_class(study: Study, chosen: Chosen) -> Html:
    names = ["class", "kept, %", "IoU of the kept, %", *(["threshold"] if _by_class(chosen) else [])]
    heads = (tag("th", name, scope="col") for name in names)
    rows = (_kept_row(study, chosen, index) for index in range(len(study.images.class_names)))
    return tag("div", tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows)), class_="scroll")


def _kept_row(study: Study, chosen: Chosen, index: int) -> Html:
    kept, overlap, threshold = (float(chosen.classes[key][index]) for key in ("semi_ratio", "iou", "threshold"))
    return tag(
        "tr",
        tag("th", swatch(study.images.colours[index]), study.images.class_names[index], scope="row"),
        tag("td", bar(kept), tag("span", percent(kept), class_="amount"), class_="number s3"),
        tag("td", percent(overlap), class_="number"),
        tag("td", number(threshold, 3), class_="number") if _by_class(chosen) else "",
    )


def _by_class(chosen: Chosen) -> bool:
    """Whether the classes have thresholds of their own."""
    return bool(np.ptp(chosen.classes["threshold"]) > 0)


def training(histories: list[History]) -> Html:
    """A panel for each fit."""
    if not histories:
        return tag("p", "No history was given.", class_="muted")
    return tag("div", *(_panel(history) for history in histories), class_="charts panels")


def _panel(history: History) -> Html:
    """The loss, and thinner the terms that it is made of."""
    names = sorted(history.terms, key=lambda name: name != "loss")
    styles = {name: "s1 strong" if name == "loss" else f"s{2 + place % 7}" for place, name in enumerate(names)}
    lines = [Line(history.step, history.terms[name], styles[name]) for name in reversed(names)]
    chart = line_chart(lines, (f"Loss of {history.name} against the step", "step", "loss"), PANEL)
    keys = (_key(name, styles[name], last(history.terms[name])) for name in names)
    return tag("figure", tag("figcaption", tag("b", history.name)), tag("div", join(keys), class_="keys"), chart)


def last(values: np.ndarray) -> str:
    return number(float(values[-1]), 3) if len(values) else ""
