"""No data set: what ``dataset.source`` says where there is no source domain. There is nothing to open."""

from typing import Annotated, Literal

from fewmask.datasets.base.dataset import DomainConfig, never_a_module

ROOT = "pipeline/datasets/none"


class Config(DomainConfig):
    """No images, and so no size."""

    kind: Literal["none"]
    root: Annotated[str, never_a_module(ROOT)] = ROOT  # DVC cannot leave a dependency out: any path that exists will do
    size: None = None  # nor a param that a stage declares
