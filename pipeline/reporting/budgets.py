"""Accuracy against cost: one training for each budget."""

from collections.abc import Sequence

import numpy as np

from fewmask.drawing.markup import Html, join, number, percent, tag
from fewmask.reporting.charts import Line, frame_of, line_chart
from fewmask.reporting.results import Study, Trial

SIZE = (560, 330)
HEADS = ("budget", "steps", "mean GMACs", "of all gates open, %", "mIoU, %")


def budgets(study: Study) -> Html:
    """The curve and its table; how to get them where there are no experiments with budgets of this data set."""
    if not any(trial.budget is not None for trial in study.trials):
        command = tag("code", "make sweep")
        return tag("p", "No experiments with budgets on these images; ", command, " runs some.", class_="muted")
    lines = [_line(study.trials, steps) for steps in sorted({trial.steps for trial in study.trials})]
    labels = ("mIoU against cost", "mean GMACs of an image", "mIoU")
    chart = line_chart(lines, labels, SIZE, _dots(lines))
    heads = (tag("th", name, scope="col") for name in HEADS)
    table = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *map(_row, study.trials)))
    caution = "One training a budget, one seed: differences of a point are no evidence."
    return join(
        [tag("p", caution), tag("div", tag("figure", chart), tag("div", table, class_="scroll"), class_="beside")]
    )


def _line(trials: Sequence[Trial], steps: int) -> Line:
    """Of the trainings of as many steps: others are no part of the same curve."""
    alike = [trial for trial in trials if trial.steps == steps]
    return Line(np.array([trial.gmacs for trial in alike]), np.array([trial.miou for trial in alike]), "s1 strong")


def _dots(lines: Sequence[Line]) -> Html:
    """One for each training."""
    frame = frame_of(lines, SIZE)
    pairs = [pair for line in lines for pair in zip(line.x.tolist(), line.y.tolist(), strict=True)]
    places = [(frame.across(x), frame.down(y)) for x, y in pairs]
    return join(tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=3.5, class_="s1") for x, y in places)


def _row(trial: Trial) -> Html:
    name = "none" if trial.budget is None else number(trial.budget, 2)
    cells = (str(trial.steps), number(trial.gmacs, 4), percent(trial.gmacs / trial.whole), percent(trial.miou))
    return tag("tr", tag("th", name, scope="row"), *(tag("td", cell, class_="number") for cell in cells))
