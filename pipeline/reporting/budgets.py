"""Accuracy against cost: one training for each budget."""

import numpy as np

from pipeline.reporting.charts import Line, line_chart
from pipeline.reporting.markup import Html, join, number, percent, tag
from pipeline.reporting.results import Study, Trial

SIZE = (560, 330)


def budgets(study: Study) -> Html:
    """The curve and its table; how to get them where there are no experiments with budgets of this data set."""
    if not any(trial.budget is not None for trial in study.trials):
        command = tag("code", "make sweep")
        return tag("p", "No experiments with budgets on these images; ", command, " runs some.", class_="muted")
    x, y = (np.array([getattr(trial, key) for trial in study.trials]) for key in ("gmacs", "miou"))
    labels = ("mIoU against cost", "mean GMACs of an image", "mIoU")
    chart = line_chart([Line(x, y, "s1 strong"), *_dots(x, y)], labels, SIZE)
    heads = (tag("th", name, scope="col") for name in ("budget", "mean GMACs", "of all gates open, %", "mIoU, %"))
    table = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *map(_row, study.trials)))
    caution = "One training a budget, one seed: differences of a point are no evidence."
    return join(
        [tag("p", caution), tag("div", tag("figure", chart), tag("div", table, class_="scroll"), class_="beside")]
    )


def _dots(x: np.ndarray, y: np.ndarray) -> list[Line]:
    """A piece of one point is drawn as a dot."""
    return [Line(x[[place]], y[[place]], "s2 strong") for place in range(len(x))]


def _row(trial: Trial) -> Html:
    name = "none" if trial.budget is None else number(trial.budget, 2)
    cells = (number(trial.gmacs, 4), percent(trial.gmacs / trial.whole), percent(trial.miou))
    return tag("tr", tag("th", name, scope="row"), *(tag("td", cell, class_="number") for cell in cells))
