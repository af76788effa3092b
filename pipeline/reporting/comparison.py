"""The methods side by side: all measures, classes and confusions."""

from collections.abc import Sequence
from dataclasses import dataclass

from fewmask.drawing.markup import DASH, Html, bar, join, known, number, percent, points, swatch, tag, trend
from fewmask.reporting.bootstrap import interval
from fewmask.reporting.charts import heat_map
from fewmask.reporting.results import Method, Study


@dataclass(frozen=True)
class Measure:
    """A column: a key of metrics/<method>.json, how it is written, and what it is. ``sense``: +1 if more is better."""

    key: str
    name: str
    meaning: str
    sense: int
    scale: float = 100
    digits: int = 1


MEASURES = (
    Measure("miou", "mIoU,\u00a0%", "intersection over union, mean over the classes that occur; the main measure", 1),
    Measure("mean_accuracy", "mean accuracy,\u00a0%", "share of a class's pixels that are right, mean over classes", 1),
    Measure(
        "pixel_accuracy", "pixel accuracy,\u00a0%", "share of all pixels that are right; large classes decide it", 1
    ),
    Measure("boundary_iou", "boundary IoU,\u00a0%", "IoU of the segments' rims alone: how exact the outlines are", 1),
    Measure("ece", "ECE,\u00a0%", "expected calibration error: how far confidence and accuracy lie apart", -1),
    Measure("parameters", "parameters,\u00a0M", "weights of the predicting network, in millions", 0, 1e-6, 3),
    Measure("gmacs", "GMACs", "10\u2079 multiply-accumulates for one image at the working size", 0, 1, 3),
)
ARROWS = {1: "\u00a0\u2191", -1: "\u00a0\u2193", 0: ""}


def comparison(study: Study) -> Html:
    """A row for each method, and what the columns mean."""
    base = study.baseline
    title = "how many points of mIoU above it; in brackets the 95 % that resampling the evaluated images gives"
    gain = tag("th", "vs ", base.name, ", points", scope="col", title=title)
    heads = [tag("th", m.name, tag("span", ARROWS[m.sense], class_="muted"), scope="col") for m in MEASURES]
    head = tag("tr", tag("th", "method", scope="col"), heads[0], gain, *heads[1:])
    best = {measure.key: _best(measure, study.methods) for measure in MEASURES}
    rows = (_row(method, base, best, place) for place, method in enumerate(study.methods))
    meanings = (join([tag("dt", m.name.split(",")[0]), tag("dd", m.meaning)]) for m in MEASURES)
    table = tag("table", tag("thead", head), tag("tbody", *rows))
    return join([tag("div", table, class_="scroll"), tag("dl", *meanings, class_="meanings")])


def _best(measure: Measure, methods: Sequence[Method]) -> float | None:
    values = [m.metrics.get(measure.key) for m in methods]
    defined = [measure.sense * value for value in values if value is not None]
    return measure.sense * max(defined) if measure.sense and len(defined) > 1 else None


def _row(method: Method, base: Method, best: dict[str, float | None], place: int) -> Html:
    cells = [_value(measure, method, best[measure.key]) for measure in MEASURES]
    shown = difference(method, base) if method is not base else ""
    name = tag("th", method_key(method.name, place), scope="row")
    return tag("tr", name, cells[0], tag("td", shown, class_=trend(shown or " ")), *cells[1:])


def difference(method: Method, base: Method) -> str:
    """In points, with the interval that resampling the evaluated images gives it."""
    shown = points(method.metrics.get("miou"), base.metrics.get("miou"))
    if shown == DASH:
        return shown
    found = interval([(method.by_image, base.by_image)])
    low, high = (points(found[key], 0.0) for key in ("low", "high"))
    return f"{shown} ({low} to {high})"


def _value(measure: Measure, method: Method, best: float | None) -> Html:
    value = method.metrics.get(measure.key)
    style = "number best" if value is not None and value == best else "number"
    return tag("td", number(value, measure.digits, measure.scale), class_=style)


def method_key(name: str, place: int) -> Html:
    """A method's name with its colour."""
    return tag("span", tag("i", class_=f"dot c{place % 8}"), name, class_="name")


def per_class(study: Study) -> Html:
    """IoU by class and method, each class's share of the evaluated pixels, and the differences."""
    heads = [tag("th", "class", scope="col"), tag("th", "pixels, %", scope="col")]
    for place, method in enumerate(study.methods):
        heads.append(tag("th", method_key(method.name, place), scope="col", class_="wide"))
        heads += [tag("th", "points", scope="col")] if method is not study.baseline else []
    rows = [_class_row(study, index) for index in range(len(study.images.class_names))]
    total = tag("tfoot", _mean_row(study))
    return tag("div", tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows), total), class_="scroll")


def _class_row(study: Study, index: int) -> Html:
    base = study.baseline
    name = tag("th", swatch(study.images.colours[index]), study.images.class_names[index], scope="row")
    share = base.pixels[index] / base.pixels.sum() if base.pixels.sum() else None
    values = [float(method.iou[index]) for method in study.methods]
    return tag("tr", name, tag("td", percent(share), class_="number"), *_iou_cells(study, values))


def _mean_row(study: Study) -> Html:
    values = [method.metrics.get("miou") for method in study.methods]
    return tag("tr", tag("th", "mIoU", scope="row"), tag("td"), *_iou_cells(study, values))


def _iou_cells(study: Study, values: Sequence[float | None]) -> list[Html]:
    base = values[study.methods.index(study.baseline)]
    cells = []
    for place, (method, value) in enumerate(zip(study.methods, values, strict=True)):
        shown = tag("span", percent(value), class_="amount")
        cells.append(tag("td", bar(value), shown, class_=f"number c{place % 8}"))
        difference = points(value, base)
        cells += [tag("td", difference, class_=trend(difference))] if method is not study.baseline else []
    return cells


def confusions(study: Study) -> Html:
    """One heat map for each method."""
    names = study.images.class_names
    maps = []
    for place, method in enumerate(study.methods):
        picture = heat_map(method.matrix, names, f"Confusion matrix of {method.name}")
        maps.append(tag("figure", tag("figcaption", method_key(method.name, place)), picture))
    return tag("div", *maps, class_="charts")


def summary(study: Study) -> str:
    """The finding in one sentence."""
    base = study.baseline
    scored = [m for m in study.compared if known(m.metrics.get("miou"))]
    if not scored or not known(base.metrics.get("miou")):
        return ""
    best = max(scored, key=lambda method: method.metrics["miou"])
    reached, before = best.metrics["miou"], base.metrics["miou"]
    which = "Best of the others: " if len(study.compared) > 1 else ""
    return f"{which}{best.name} reaches {percent(reached)} % mIoU, {base.name} {percent(before)} %: " + (
        f"{difference(best, base)} points."
    )
