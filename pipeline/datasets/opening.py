"""From the section ``dataset`` of params.yaml to an open data set."""

from pipeline.datasets.camvid import CamVid
from pipeline.datasets.folder import Folder
from pipeline.datasets.sources import CamVidConfig, DatasetConfig, Source, StreetsConfig
from pipeline.datasets.streets_source import Streets


def open_source(config: DatasetConfig) -> Source:
    """The adapter of ``config.kind``."""
    if isinstance(config, StreetsConfig):
        return Streets(config)
    if isinstance(config, CamVidConfig):
        return CamVid(config)
    return Folder(config)
