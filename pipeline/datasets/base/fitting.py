"""Images and masks at the working size: stretched, in whole blocks of pixels, or on a padded canvas."""

import numpy as np
from PIL import Image

from fewmask.core.masks import IGNORE
from fewmask.datasets.base.dataset import FilesConfig

PADDING = (124, 116, 104)  # the mean colour of ImageNet: next to 0 once an image is normalised
Extent = tuple[int, int]  # height, width


def fit_image(image: Image.Image, config: FilesConfig) -> Image.Image:
    """An RGB image at ``config.size``, as ``config.fit`` says."""
    if config.size is None:
        return image
    if config.fit == "pad":
        height, width = fit_extent((image.height, image.width), config)
        canvas = Image.new("RGB", config.size[::-1], PADDING)
        canvas.paste(image.resize((width, height), Image.Resampling.BILINEAR))
        return canvas
    block = _block((image.height, image.width), config)
    return image.reduce(block[::-1]) if block else image.resize(config.size[::-1], Image.Resampling.BILINEAR)


def fit_mask(ids: np.ndarray, config: FilesConfig) -> np.ndarray:
    """Class ids (h, w) uint8 at ``config.size``, where ``fit_image`` puts their pixels; padding is 255."""
    if config.size is None:
        return ids
    extent: Extent = (ids.shape[0], ids.shape[1])
    if config.fit == "pad":
        height, width = fit_extent(extent, config)
        canvas = np.full(config.size, IGNORE, np.uint8)
        canvas[:height, :width] = _nearest(ids, (height, width))
        return canvas
    block = _block(extent, config)
    return majority(ids, *block) if block else _nearest(ids, config.size)


def fit_extent(extent: Extent, config: FilesConfig) -> Extent:
    """How much of ``config.size``, at the top left, an image of ``extent`` fills; the rest is padding.

    On a canvas it stays as it is, or is shrunk until it fits, its aspect kept.
    """
    if config.size is None:
        return extent
    if config.fit != "pad":
        return config.size
    scale = min(1.0, *(room / side for room, side in zip(config.size, extent, strict=True)))
    height, width = (max(1, round(side * scale)) for side in extent)
    return height, width


def majority(ids: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The vote of each block: ids (rows H, columns W) uint8 -> (H, W); the commonest id, of several the smallest.

    So void, 255, wins only where it has more pixels than any class.
    """
    cells = [np.ascontiguousarray(ids[row::rows, column::columns]) for row in range(rows) for column in range(columns)]
    winner, most = np.zeros_like(cells[0]), np.zeros(cells[0].shape, np.uint32)
    for value in np.unique(ids):
        votes = np.zeros_like(most)
        for cell in cells:
            votes += cell == value
        winner[votes > most] = value
        np.maximum(most, votes, out=most)
    return winner


def _block(extent: Extent, config: FilesConfig) -> Extent | None:
    """Rows and columns of the pixels that become one, where params want blocks and they are whole."""
    if config.fit != "blocks" or config.size is None:
        return None
    rows, rest = divmod(extent[0], config.size[0])
    columns, remainder = divmod(extent[1], config.size[1])
    return None if rest or remainder else (rows, columns)


def _nearest(ids: np.ndarray, size: Extent) -> np.ndarray:
    return np.asarray(Image.fromarray(ids).resize(size[::-1], Image.Resampling.NEAREST))
