"""Images, labels, errors and confidences as data: URIs."""

import base64
import io

import numpy as np
from PIL import Image

from fewmask.core.masks import IGNORE
from fewmask.drawing.markup import Html, hexadecimal, tag, void
from fewmask.drawing.palette import palette_image
from fewmask.stores.codes import thresholds

LONGEST = 384  # of a picture's sides in the page: a larger image is shrunk by a whole number
QUALITY = 85
RIGHT, WRONG, VOID = 0, 1, 2
ERRORS = ((0, 0, 0), (220, 38, 38), (148, 152, 160))  # of RIGHT, which is transparent, WRONG and VOID
VIRIDIS = np.array(
    [[68, 1, 84], [71, 45, 123], [59, 82, 139], [33, 145, 140], [94, 201, 98], [173, 220, 48], [253, 231, 37]]
)
VIRIDIS_AT = (0, 0.125, 0.25, 0.5, 0.75, 0.875, 1)


def photo(image: np.ndarray) -> str:
    """(H, W, 3) uint8 -> a JPEG."""
    return _uri(Image.fromarray(image).reduce(_step(image)), "JPEG", quality=QUALITY)


def classes(labels: np.ndarray, colours: list[list[int]]) -> str:
    """(H, W) uint8 ids -> a PNG in the classes' colours; 255 is black."""
    return _png(palette_image(_small(labels), colours))


def errors(predicted: np.ndarray, truth: np.ndarray) -> str:
    """(H, W) uint8 both -> a PNG: wrong pixels red, right ones transparent, void grey."""
    kinds = np.where(truth == IGNORE, VOID, np.where(predicted == truth, RIGHT, WRONG)).astype(np.uint8)
    return _png(palette_image(_small(kinds), ERRORS), transparency=RIGHT)


def confidence(codes: np.ndarray, edges: np.ndarray) -> str:
    """(H, W) uint8 codes -> a PNG, dark for 0 and yellow for 1; a code shows the least confidence that it means."""
    image = Image.fromarray(_small(codes), "P")
    image.putpalette(_viridis(thresholds(edges)[:256]).tobytes())
    return _png(image)


def confidence_scale() -> Html:
    """The legend of ``confidence``."""
    stops = ", ".join(hexadecimal(colour) for colour in _viridis(np.linspace(0, 1, 9)))
    ramp = tag("i", class_="ramp", style=f"background:linear-gradient(to right, {stops})")
    return tag("span", "confidence 0 ", ramp, " 1", class_="key")


def figure(uri: str, caption: str) -> Html:
    """A picture with its caption."""
    return tag("figure", void("img", src=uri, alt=caption), tag("figcaption", caption))


def _viridis(values: np.ndarray) -> np.ndarray:
    """(n,) in 0..1 -> colours (n, 3) uint8."""
    channels = [np.interp(values, VIRIDIS_AT, channel) for channel in VIRIDIS.T]
    return np.stack(channels, 1).round().astype(np.uint8)


def _step(image: np.ndarray) -> int:
    return -(-max(image.shape[:2]) // LONGEST)


def _small(labels: np.ndarray) -> np.ndarray:
    step = _step(labels)
    return np.ascontiguousarray(labels[::step, ::step])


def _png(image: Image.Image, **options: int) -> str:
    return _uri(image, "PNG", optimize=True, **options)


def _uri(image: Image.Image, kind: str, **options: int) -> str:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(data.getvalue()).decode()}"
