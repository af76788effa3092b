"""Pseudo-labels made in several rounds of one method: how right each round's are, and how they look."""

import numpy as np

from fewmask.core.masks import IGNORE
from fewmask.drawing.markup import Html, join, percent, points, tag, trend
from fewmask.drawing.palette import examples
from fewmask.reporting import pictures
from fewmask.reporting.gallery import example
from fewmask.reporting.pictures import figure
from fewmask.reporting.results import Study
from fewmask.scoring.overlap import iou, mean_over_present
from fewmask.stores.labels import Labels


def rounds(study: Study) -> Html:
    """A table measured on validation images, and the rounds side by side for a few unlabelled ones."""
    if not study.rounds:
        return tag("p", "No pseudo-labels of several rounds were given.", class_="muted")
    return join(
        [_table(study), tag("div", *(_looks(study, n) for n in examples(study.split.unlabelled)), class_="gallery")]
    )


def _table(study: Study) -> Html:
    scores = [_right(study, store) for store in study.rounds]
    names = ("pseudo-labels", "mIoU", "vs first, points", "pixels right")
    head = tag("tr", *(tag("th", name, scope="col") for name in names))
    rows = []
    for store, (miou, pixels) in zip(study.rounds, scores, strict=True):
        change = points(miou, scores[0][0]) if store is not study.rounds[0] else ""
        cells = [tag("td", percent(miou)), tag("td", change, class_=trend(change or " ")), tag("td", percent(pixels))]
        rows.append(tag("tr", tag("th", store.path.stem, scope="row"), *cells))
    return tag("div", tag("table", tag("thead", head), tag("tbody", *rows)), class_="scroll")


def _right(study: Study, store: Labels) -> tuple[float | None, float | None]:
    """mIoU and share of right pixels over the validation images that have a mask; None where there is none."""
    images, classes = study.images, len(study.images.class_names)
    matrix = np.zeros((classes, classes), np.int64)
    for name in study.split.validation:
        if images.has_mask[images.index[name]]:
            truth, label = images.mask(name), store.label(name)
            valid = (truth != IGNORE) & (label != IGNORE)
            pairs = truth[valid].astype(np.int64) * classes + label[valid]
            matrix += np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
    total = matrix.sum()
    return mean_over_present(iou(matrix), matrix), float(matrix.trace() / total) if total else None


def _looks(study: Study, name: str) -> Html:
    images, colours = study.images, study.images.colours
    tiles = [figure(pictures.photo(images.image(name)), "image")]
    tiles += [figure(pictures.classes(store.label(name), colours), store.path.stem) for store in study.rounds]
    if images.has_mask[images.index[name]]:
        tiles.append(figure(pictures.classes(images.mask(name), colours), "ground truth*"))
    return example(name, "row", tiles)
