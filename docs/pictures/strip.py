"""Draw docs/pictures/strip.png: images, pseudo-labels, what a threshold keeps, predictions and the truth.

    python docs/pictures/strip.py

Reads what `make demo` made: data/images.h5, data/split.json, two label stores and models/auxiliary.safetensors.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fewmask.drawing.palette import palette_image
from fewmask.prediction.predictor import Predictor
from fewmask.stores.images import Images
from fewmask.stores.labels import Labels
from fewmask.stores.split import Split

TITLES = ("unlabelled image", "pseudo-label", "kept above 0.9", "after retraining", "truth, never used")
CHOSEN = (3, 60)  # places among the unlabelled images
SCALE, GAP, HEAD = 2, 6, 22
KEPT_COLOUR = (238, 238, 238)  # of what the threshold drops


def main() -> None:
    split, predictor = Split.load(Path("data/split.json")), Predictor(Path("models/auxiliary.safetensors"))
    names = [split.unlabelled[place] for place in CHOSEN]
    labels, kept = Labels(Path("data/labels/auxiliary.h5")), Labels(Path("data/labels/auxiliary_filtered.h5"))
    with Images(Path("data/images.h5")) as images, labels, kept:
        stack = images.stack(names)
        predicted = predictor(stack)[0].numpy()
        rows = [
            (image, labels.label(name), kept.label(name), prediction, images.mask(name))
            for name, image, prediction in zip(names, stack, predicted, strict=True)
        ]
        draw(rows, images.colours).save(Path(__file__).with_name("strip.png"), optimize=True)


def draw(rows: list[tuple[np.ndarray, ...]], colours: list[list[int]]) -> Image.Image:
    """A row an image, a column a title."""
    height, width = rows[0][0].shape[:2]
    size = (SCALE * width + GAP, SCALE * height + GAP)
    canvas = Image.new("RGB", (len(TITLES) * size[0] - GAP, HEAD + len(rows) * size[1] - GAP), "white")
    pen = ImageDraw.Draw(canvas)
    for column, title in enumerate(TITLES):
        pen.text((column * size[0] + 2, 2), title, fill="black", font_size=14)
        for row, pictures in enumerate(rows):
            place = (column * size[0], HEAD + row * size[1])
            picture = pictures[column]
            tile = Image.fromarray(picture) if picture.ndim == 3 else coloured(picture, colours)
            canvas.paste(tile.resize((SCALE * width, SCALE * height), Image.Resampling.NEAREST), place)
    return canvas


def coloured(labels: np.ndarray, colours: list[list[int]]) -> Image.Image:
    """Class colours, and light grey where there is no label."""
    picture = np.array(palette_image(labels, colours).convert("RGB"))
    picture[labels == 255] = KEPT_COLOUR
    return Image.fromarray(picture)


if __name__ == "__main__":
    main()
