"""From the section ``dataset`` of params.yaml, or ``dataset.source``, to an open data set."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args

from fewmask.core.errors import DataError, UserError
from fewmask.datasets.base.dataset import (
    CamVidConfig,
    CityscapesConfig,
    Gta5Config,
    Known,
    PascalContextConfig,
    Sample,
    Source,
    StreetsConfig,
    VocConfig,
)
from fewmask.datasets.camvid.camvid import CamVid
from fewmask.datasets.cityscapes.cityscapes import Cityscapes
from fewmask.datasets.folder.folder import Folder
from fewmask.datasets.gta5.gta5 import Gta5
from fewmask.datasets.pascal_context.pascal_context import PascalContext
from fewmask.datasets.streets.streets import Streets
from fewmask.datasets.voc.voc import Voc

FIELDS = "|".join(sorted({field for kind in get_args(Known) for field in kind.model_fields} - {"source"}))
KEY = re.compile(rf"(?<![\w./])dataset(?=\.(?:{FIELDS})\b)|^dataset(?=: )", re.MULTILINE)


def open_source(config: Known) -> Source:
    """The adapter of ``config.kind``."""
    if isinstance(config, StreetsConfig):
        return Streets(config)
    if isinstance(config, CamVidConfig):
        return CamVid(config)
    if isinstance(config, CityscapesConfig):
        return Cityscapes(config)
    if isinstance(config, VocConfig):
        return Voc(config)
    if isinstance(config, PascalContextConfig):
        return PascalContext(config)
    if isinstance(config, Gta5Config):
        return Gta5(config)
    return Folder(config)


def learnable(source: Source) -> list[Sample]:
    """What a source domain teaches: all images with masks, whatever their role; of drawn scenes, those for training.

    Raises:
        DataError: there is none.
    """
    samples = source.samples()
    chosen = [sample for sample in samples if sample.mask or (sample.image is None and sample.role == "train")]
    if not chosen:
        found = f"dataset: none of its {len(samples)} images has a mask; expected a labelled data set"
        raise DataError(f"{found}. Add masks, or set kind: none.")
    return chosen


@contextmanager
def keys_under(section: str) -> Iterator[None]:
    """Inside the block errors name the keys of ``section`` where an adapter, which cannot know it, says ``dataset``."""
    try:
        yield
    except UserError as error:
        raise type(error)(KEY.sub(section, str(error))) from error
