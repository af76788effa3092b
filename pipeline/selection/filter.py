"""Keep the pseudo-labels whose confidence passes a threshold, or the surest share of them; no network, no torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from fewmask.core.errors import ConfigError
from fewmask.core.masks import IGNORE
from fewmask.core.params import Section
from fewmask.selection.measures import Selection, joint_histogram, select
from fewmask.stores.codes import minimum_code, thresholds
from fewmask.stores.hdf5 import create
from fewmask.stores.images import Images
from fewmask.stores.labels import SCHEMA, VERSION, Labelled, Labels, LabelWriter, write_header


class FilterConfig(Section):
    """Either ``threshold``: T <= 0 keeps all, T >= 1 none; or ``share``: as much of the pixels, the surest ones.

    The share is of all pixels of the filtered images or, ``balanced``, of those of each predicted class. ``per_class``
    has thresholds that override either for predicted classes by name.
    """

    threshold: float | None = None
    share: float | None = Field(default=None, gt=0, le=1)
    balanced: bool = False
    per_class: dict[str, float] = Field(default={})

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if (self.threshold is None) == (self.share is None):
            raise ValueError("expected one of threshold and share; set the other to null")
        if self.balanced and self.share is None:
            raise ValueError("balanced is for share; set it, and threshold to null")
        return self


def common_code(config: FilterConfig, edges: np.ndarray, predicted: np.ndarray) -> int:
    """The least code that is kept where classes have none of their own; ``predicted`` as for ``minimum_codes``."""
    if config.threshold is not None:
        return minimum_code(config.threshold, edges)[0]
    assert config.share is not None
    return int(share_codes(predicted.sum(0), config.share))


def share_codes(counts: np.ndarray, share: float) -> np.ndarray:
    """The highest code that at least a ``share`` of the pixels reaches, of counts by code (..., 256): (...) int64."""
    reached = counts[..., ::-1].cumsum(-1)[..., ::-1]
    return (reached >= share * reached[..., :1]).sum(-1) - 1


def minimum_codes(
    config: FilterConfig, class_names: list[str], edges: np.ndarray, predicted: np.ndarray
) -> tuple[np.ndarray, list[float]]:
    """The least code that is kept, by predicted class: (C,) int64, and the effective thresholds.

    Args:
        predicted: pixels of the images to filter, by predicted class and code: (C, 256).

    Raises:
        ConfigError: ``per_class`` names an unknown class.
    """
    unknown = sorted(set(config.per_class) - set(class_names))
    if unknown:
        raise ConfigError(f"filter.per_class: found {unknown}; expected names of {class_names}. Fix the name.")
    codes = np.full(len(class_names), common_code(config, edges, predicted))
    if config.balanced and config.share is not None:
        codes = share_codes(predicted, config.share)
    for name, threshold in config.per_class.items():
        codes[class_names.index(name)] = minimum_code(threshold, edges)[0]
    return codes, thresholds(edges)[codes].tolist()


def keep(item: Labelled, minimum: np.ndarray) -> Labelled:
    """Label 255 where the code of a pixel is below ``minimum`` (C,) of its class; labels of 255 stay."""
    if (minimum == minimum[0]).all():
        dropped = item.code < int(minimum[0])
    else:
        dropped = item.code < np.append(minimum, [0] * (256 - len(minimum)))[item.label]
    return Labelled(item.stem, np.bitwise_or(item.label, dropped.view(np.uint8) * np.uint8(IGNORE)), item.code)


def filter_store(path: Path, labels: Labels, names: Sequence[str], minimum: np.ndarray, fingerprint: str) -> float:
    """Write the images ``names``, filtered, as a store of their own; return the kept share of their pixels.

    Confidences are copied compressed, histograms are cut at the threshold: neither is computed again.
    """
    passes = np.arange(256) >= minimum[:, None]
    kept = total = 0
    with create(path, SCHEMA, VERSION) as file:
        writer = LabelWriter(file, len(labels.class_names))
        for name in names:
            histogram = labels.histogram[labels.index[name]]
            kept, total = kept + int((histogram * passes).sum()), total + int(histogram.sum())
            writer.add(keep(labels.read(name), minimum), histogram * passes, labels.raw_confidence(name))
        writer.finish()
        provenance = {**labels.provenance, "labels": labels.fingerprint, "minimum_codes": minimum.tolist()}
        write_header(file, len(names), labels.class_names, fingerprint, provenance)
    return kept / max(total, 1)


def measure(labels: Labels, images: Images, names: list[str]) -> np.ndarray:
    """Joint histogram (C + 1, C, 256) of the held-out labelled images ``names``."""
    classes = len(images.class_names)
    total = np.zeros((classes + 1, classes, 256), np.int64)
    for name in names:
        item = labels.read(name)
        total += joint_histogram(images.mask(name), item.label, item.code, classes)
    return total


def curve(histogram: np.ndarray, edges: np.ndarray) -> list[dict[str, float]]:
    """The selection measures at every threshold that a code can express: keep all, 255 edges, keep none."""
    classes = histogram.shape[1]
    rows = []
    for code, threshold in enumerate(thresholds(edges)):
        rows.append({"threshold": float(threshold), **summary(select(histogram, np.full(classes, code)))})
    return rows


def summary(found: Selection) -> dict[str, float]:
    """The scalar measures of a selection."""
    return {
        "miou": found.miou,
        "average_semi_ratio": found.average_semi_ratio,
        "selected_pixels": found.selected,
        "pixel_accuracy": found.accuracy,
    }
