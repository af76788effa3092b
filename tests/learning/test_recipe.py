"""What is written about a training."""

from types import SimpleNamespace

import pytest
import torch

from pipeline.learning.recipe import Recipe
from pipeline.stores.images import Images


@pytest.mark.parametrize("extent", [None, (12, 9)])
def test_a_model_says_whether_its_images_were_padded(image_store, image_rows, extent):
    first, *others = image_rows()
    recipe = Recipe(None, None, [0.5] * 3, [0.2] * 3, None)
    with Images(image_store(rows=[(*first, extent), *others])) as images:
        header = recipe.header({"name": "dsnet"}, images, SimpleNamespace(keys=[], fingerprint=""), torch.device("cpu"))
    assert (header.size, header.padded) == ([12, 16], extent is not None)
