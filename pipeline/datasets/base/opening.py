"""From the section ``dataset`` of params.yaml, or ``dataset.source``, to an open data set of the kind that it names.

A kind is a folder, datasets/<kind>/<kind>.py, with a schema ``Config`` and ``open_dataset(config, key)``. Only the
chosen kind is imported, so that a stage depends on no other.
"""

import importlib
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from fewmask.core.errors import DataError, did_you_mean
from fewmask.core.params import Params, Section
from fewmask.datasets.base.dataset import Dataset, DomainConfig, Sample

DATASETS = Path(__file__).resolve().parents[1]
NONE = "none"  # the kind of no source domain; a target has images
OTHER = (
    "expected a source domain of other images, since all its masks are learned. "
    "Name another data set, or for streets another look or seed."
)


def kinds() -> list[str]:
    """The name of every kind of data set, sorted."""
    return sorted(path.stem for path in DATASETS.glob("*/*.py") if path.stem == path.parent.name)


def dataset_module(kind: str) -> Any:
    """The module of a kind, which is known."""
    return importlib.import_module(f"fewmask.datasets.{kind}.{kind}")


def read_target(params: Params, key: str = "dataset") -> Any:
    """The validated section of a data set to learn and to evaluate on; its ``source`` is left for ``read_source``.

    Raises:
        ConfigError: an unknown kind, or what the schema of its kind refuses, with the line.
    """
    return params.section(key, _schema(params, key, [kind for kind in kinds() if kind != NONE]))


def read_source(params: Params, key: str = "dataset.source") -> Any:
    """The validated section of a source domain; errors as ``read_target``, and for a source or tags of its own."""
    return params.section(key, Annotated[_schema(params, key, kinds()), AfterValidator(_plain)])


def open_dataset(config: Section, key: str = "dataset") -> Dataset:
    """The data set of a validated section, which stands under ``key`` of params.yaml."""
    dataset: Dataset = dataset_module(config.kind).open_dataset(config, key)  # type: ignore[attr-defined]
    return dataset


def learnable(dataset: Dataset) -> list[Sample]:
    """What a source domain teaches: all images with masks, whatever their role; of drawn scenes, those for training.

    Raises:
        DataError: there is none.
    """
    samples = dataset.samples()
    chosen = [sample for sample in samples if sample.mask or (sample.image is None and sample.role == "train")]
    if not chosen:
        found = f"{dataset.key}: none of its {len(samples)} images has a mask; expected a labelled data set"
        raise DataError(f"{found}. Add masks, or set kind: {NONE}.")
    return chosen


def _schema(params: Params, key: str, known: list[str]) -> Any:
    """The schema of the kind that a section names."""
    params.raw(key)  # where it is missing, it is the section that is, not its kind
    kind = params.section(f"{key}.kind", Annotated[str, AfterValidator(partial(_known, known=known))])
    return dataset_module(kind).Config


def _known(kind: str, known: list[str]) -> str:
    if kind not in known:
        raise ValueError(f"found {kind!r}; expected one of {', '.join(known)}{did_you_mean(kind, known)}")
    return kind


def _plain(config: DomainConfig) -> DomainConfig:
    """A source domain has no source of its own, and as its masks are all learned, no tags."""
    if "source" in config.model_fields_set:
        raise ValueError("found a source inside a source; expected one source domain. Remove the inner 'source'")
    if "tags" in config.model_fields_set:
        raise ValueError("found tags in a source; expected none, since its masks are learned. Remove its 'tags'")
    return config
