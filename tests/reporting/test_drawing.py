"""Pictures as pixels, curves as paths, numbers as text."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from fewmask.drawing import markup
from fewmask.reporting import charts, pictures
from fewmask.stores.codes import EDGES, encode

COLOURS = [[128, 64, 128], [0, 0, 142]]


def decoded(uri: str) -> np.ndarray:
    """(H, W, 4) uint8 of a data: URI."""
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGBA"))


def test_errors_are_red_right_pixels_clear_and_void_grey() -> None:
    picture = decoded(pictures.errors(np.uint8([[0, 1, 2]]), np.uint8([[0, 2, 255]])))
    assert picture[0, :, 3].tolist() == [0, 255, 255]
    assert picture[0, 1:, :3].tolist() == [[220, 38, 38], [148, 152, 160]]


def test_confidence_grows_brighter_up_to_the_last_code() -> None:
    codes = encode(np.float32([[0.0, 0.2, 0.5, 0.8, 0.95, 1.0]]))
    assert codes[0, -1] == 255
    brightness = decoded(pictures.confidence(codes, EDGES))[0, :, :3].astype(int) @ [2, 7, 1]
    assert (np.diff(brightness) > 0).all()


def test_large_pictures_are_shrunk() -> None:
    assert decoded(pictures.photo(np.zeros((500, 1000, 3), np.uint8))).shape[:2] == (167, 334)
    assert decoded(pictures.classes(np.zeros((500, 1000), np.uint8), COLOURS)).shape[:2] == (167, 334)


def test_a_line_stops_where_it_is_undefined() -> None:
    frame = charts.Frame(152, 146, (0, 4), (0, 1))  # 100 by 100 inside
    line = charts.Line(np.arange(5.0), np.array([0, 1, np.nan, 0.5, 1]), "s1")
    assert charts.path(frame, line) == "M40 110h0L65 10M115 60h0L140 10"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0, 400, [0, 100, 200, 300, 400]), (-1, 2.4, [-1, 0, 1, 2, 3]), (0, 0, None)],
)
def test_ticks_are_round_and_cover_the_range(low: float, high: float, expected: list[float] | None) -> None:
    found = charts.ticks(low, high)
    assert found[0] <= low <= high <= found[-1]
    assert found[0] < found[-1]
    assert expected is None or found == expected


def test_a_confusion_row_is_shares_of_the_true_class() -> None:
    picture = charts.heat_map(np.array([[3.0, 1.0], [0.0, 0.0]]), ["a", "b"], "x")
    assert re.findall(r"<title>(.*?)</title>", picture) == ["a \u2192 a: 75.0 %", "a \u2192 b: 25.0 %"]
    assert picture.count(f">{markup.DASH}<") == 1


@pytest.mark.parametrize(
    ("value", "base", "expected"),
    [
        (0.5, 0.4, "+10.0"),
        (0.4, 0.5, "\u221210.0"),
        (0.5, 0.50004, "0.0"),
        (None, 0.5, "\u2013"),
        (0.5, float("nan"), "\u2013"),
    ],
)
def test_differences_have_signs(value: float | None, base: float, expected: str) -> None:
    assert markup.points(value, base) == expected
