"""Images beside their masks, predictions and pseudo-labels."""

import numpy as np

from fewmask.core.masks import IGNORE
from fewmask.drawing.markup import Html, percent, tag
from fewmask.drawing.palette import examples
from fewmask.reporting import pictures
from fewmask.reporting.pictures import figure
from fewmask.reporting.results import Chosen, Study
from fewmask.selection.filter import keep
from fewmask.stores.codes import thresholds
from fewmask.stores.labels import Labelled, Labels


def evaluated(study: Study) -> Html:
    """Image and ground truth; of each method the prediction above its errors."""
    return tag("div", *(_evaluated(study, name) for name in examples(study.split.test)), class_="gallery")


def _evaluated(study: Study, name: str) -> Html:
    truth, colours = study.images.mask(name), study.images.colours
    given = figure(pictures.photo(study.images.image(name)), "image")
    columns = [tag("div", given, figure(pictures.classes(truth, colours), "ground truth"), class_="pair")]
    for method in study.methods:
        predicted = method.shown[name]
        above = figure(pictures.classes(predicted, colours), method.name)
        below = figure(pictures.errors(predicted, truth), f"{percent(_wrong(predicted, truth))} % wrong")
        columns.append(tag("div", above, below, class_="pair"))
    return example(name, "columns", columns)


def _wrong(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Share of the pixels with a truth; NaN where there is none."""
    valid = truth != IGNORE
    return float((predicted != truth)[valid].mean()) if valid.any() else float("nan")


def unlabelled(study: Study) -> Html:
    """Pseudo-labels, their confidence, what the threshold keeps, and the truth where there is one."""
    names = examples(study.split.unlabelled)
    if study.labels is None or not names:
        return tag("p", "No pseudo-labels were given." if names else "No image is unlabelled.", class_="muted")
    labels = study.labels
    minimum = None if study.chosen is None else minimum_codes(study.chosen, labels)
    shown = (_unlabelled(study, labels.read(name), labels.edges, minimum) for name in names)
    return tag("div", *shown, class_="gallery")


def minimum_codes(chosen: Chosen, labels: Labels) -> np.ndarray:
    """The least codes kept, by class (C,): the table rounds its thresholds, so the nearest one is meant."""
    steps = thresholds(labels.edges)
    return np.abs(steps - chosen.classes["threshold"][:, None]).argmin(1)


def _unlabelled(study: Study, item: Labelled, edges: np.ndarray, minimum: np.ndarray | None) -> Html:
    images, colours = study.images, study.images.colours
    tiles = [
        figure(pictures.photo(images.image(item.stem)), "image"),
        figure(pictures.classes(item.label, colours), "pseudo-label"),
        figure(pictures.confidence(item.code, edges), "confidence"),
    ]
    if minimum is not None:
        kept = keep(item, minimum).label
        share = (kept != IGNORE).sum() / max(1, (item.label != IGNORE).sum())
        tiles.append(figure(pictures.classes(kept, colours), f"kept, {percent(share)} %"))
    if images.has_mask[images.index[item.stem]]:
        tiles.append(figure(pictures.classes(images.mask(item.stem), colours), "ground truth*"))
    return example(item.stem, "row", tiles)


def example(name: str, style: str, tiles: list[Html]) -> Html:
    """One image's tiles under its name."""
    return tag("article", tag("h3", name), tag("div", *tiles, class_=f"tiles {style}", style=f"--n:{len(tiles)}"))
