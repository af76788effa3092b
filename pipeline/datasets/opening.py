"""From the section ``dataset`` of params.yaml to an open data set."""

from pipeline.datasets.camvid import CamVid
from pipeline.datasets.cityscapes import Cityscapes
from pipeline.datasets.folder import Folder
from pipeline.datasets.sources import CamVidConfig, CityscapesConfig, DatasetConfig, Source, StreetsConfig, VocConfig
from pipeline.datasets.streets_source import Streets
from pipeline.datasets.voc import Voc


def open_source(config: DatasetConfig) -> Source:
    """The adapter of ``config.kind``."""
    if isinstance(config, StreetsConfig):
        return Streets(config)
    if isinstance(config, CamVidConfig):
        return CamVid(config)
    if isinstance(config, CityscapesConfig):
        return Cityscapes(config)
    if isinstance(config, VocConfig):
        return Voc(config)
    return Folder(config)
