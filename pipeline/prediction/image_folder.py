"""Predict a folder of images of any size: palette PNG masks and, if wanted, overlays and confidences."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fewmask.core.errors import DataError, raise_all
from fewmask.core.files import published
from fewmask.core.progress import Progress, warn
from fewmask.datasets.base.dataset import FilesConfig
from fewmask.datasets.base.fitting import fit_extent, fit_image
from fewmask.datasets.base.imagefiles import SUFFIXES, ImageFiles
from fewmask.drawing.palette import palette_image
from fewmask.nets.base.segnet import resize
from fewmask.prediction.predictor import Predictor

MAX_PIXELS = 500_000_000  # of one image: 24 bytes each while it is predicted


def predict_folder(
    predictor: Predictor, images: Path, out: Path, overlay: bool = False, confidence: bool = False
) -> int:
    """Write ``out/<id>.png`` (and ``<id>_overlay.jpg``, ``<id>_confidence.png``) for every image; return how many.

    Raises:
        DataError: after all others are done, the images that could not be read.
    """
    files = ImageFiles(FilesConfig(root=str(images), allow_symlinks=True, image_depth="scale", max_pixels=MAX_PIXELS))
    paths = files.images_in(images)
    others = sum(path.is_file() for path in images.iterdir()) - len(paths)
    if others:
        warn(f"{images}: passed over {others} files that are not {', '.join(sorted(SUFFIXES))}")
    if not paths:
        raise DataError(f"{images}: holds no image; expected PNG or JPEG files. Fix --images.")
    problems = []
    with Progress("predict", len(paths), "image") as progress:
        for number, (name, path) in enumerate(paths.items(), 1):
            try:
                image = files.read_image(path)
            except DataError as error:
                problems.append(str(error))
                continue
            for suffix, picture in _pictures(predictor, image, overlay, confidence):
                with published(out / f"{name}{suffix}") as aside:
                    picture.save(aside, "JPEG" if suffix.endswith(".jpg") else "PNG")
            progress.show(number)
    raise_all(problems, DataError)
    return len(paths)


def _pictures(
    predictor: Predictor, image: np.ndarray, overlay: bool, confidence: bool
) -> Iterator[tuple[str, Image.Image]]:
    label, sure = predict_image(predictor, image)
    mask = palette_image(label, predictor.header.colours)
    yield ".png", mask
    if overlay:
        yield "_overlay.jpg", Image.blend(Image.fromarray(image), mask.convert("RGB"), 0.5)
    if confidence:
        yield "_confidence.png", Image.fromarray((sure * 255).round().astype(np.uint8))


def predict_image(predictor: Predictor, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) uint8 of any size -> class ids (H, W) uint8 and largest probability (H, W) float32.

    The network sees the image at the size it was trained on, stretched or padded as then; its probabilities are brought
    back to the image's size one class at a time, so that memory does not grow with the number of classes.
    """
    header, size = predictor.header, (image.shape[0], image.shape[1])
    config = FilesConfig(root="", size=(header.size[0], header.size[1]), fit="pad" if header.padded else "stretch")
    height, width = fit_extent(size, config)
    small = np.array(fit_image(Image.fromarray(image), config))
    probabilities = predictor.probabilities(small[None])[0, :, :height, :width]
    best, label = (
        _enlarged(probabilities[0], size),
        torch.zeros(size, dtype=torch.uint8, device=probabilities.device),
    )
    for number in range(1, len(probabilities)):
        other = _enlarged(probabilities[number], size)
        label[other > best] = number
        best = torch.maximum(best, other)
    return label.cpu().numpy(), best.cpu().numpy()


def _enlarged(plane: Tensor, size: tuple[int, int]) -> Tensor:
    return resize(plane[None, None], size)[0, 0]
