"""A folder's images come to the network as its training images did."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fewmask.datasets.base.fitting import PADDING
from fewmask.prediction.image_folder import predict_image


class Predictor:
    """Gives each pixel the class red % 3, with certainty, and keeps what it was shown."""

    def __init__(self, padded: bool) -> None:
        self.header = SimpleNamespace(size=[12, 16], padded=padded)

    def probabilities(self, images: np.ndarray) -> Tensor:
        self.seen = images[0]
        return torch.from_numpy(np.eye(3, dtype=np.float32)[images[..., 0] % 3]).permute(0, 3, 1, 2)


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", [(5, 9), (12, 4), (12, 16)])
def test_padded_as_in_training_an_image_that_fits_keeps_its_pixels(size: tuple[int, int]) -> None:
    predictor, image = Predictor(padded=True), photo(*size)
    label, sure = predict_image(predictor, image)  # type: ignore[arg-type]
    assert (label == image[..., 0] % 3).all()
    assert (sure == 1).all()
    assert predictor.seen.shape == (12, 16, 3)
    assert (predictor.seen[size[0] :] == PADDING).all()
    assert (predictor.seen[:, size[1] :] == PADDING).all()


@pytest.mark.parametrize(("size", "extent"), [((24, 16), (12, 8)), ((20, 80), (4, 16))])
def test_padded_an_image_that_does_not_fit_is_shrunk_with_its_aspect(
    size: tuple[int, int], extent: tuple[int, int]
) -> None:
    predictor = Predictor(padded=True)
    image = np.full((*size, 3), 100, np.uint8)  # of class 1; padding, 124, is of another
    label, sure = predict_image(predictor, image)  # type: ignore[arg-type]
    assert label.shape == sure.shape == size
    assert (label == 1).all()
    assert sure == pytest.approx(np.ones(size))  # interpolated
    assert (predictor.seen == 100).all(2).sum() == extent[0] * extent[1]


@pytest.mark.parametrize("size", [(5, 9), (24, 16)])
def test_other_models_see_images_stretched(size: tuple[int, int]) -> None:
    predictor, image = Predictor(padded=False), photo(*size)
    assert predict_image(predictor, image)[0].shape == size  # type: ignore[arg-type]
    wanted = Image.fromarray(image).resize((16, 12), Image.Resampling.BILINEAR)
    assert (predictor.seen == np.asarray(wanted)).all()
