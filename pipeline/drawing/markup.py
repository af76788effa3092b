"""HTML and SVG elements as text, and numbers as people read them. What is not ``Html`` is escaped."""

import math
from collections.abc import Iterable
from html import escape

DASH, MINUS = "\u2013", "\u2212"


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def text(value: object) -> Html:
    """Markup as it is, anything else escaped."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def join(parts: Iterable[object]) -> Html:
    return Html("".join(text(part) for part in parts))


def tag(name: str, *children: object, **attributes: object) -> Html:
    """``tag("td", "a < b", class_="number")``: attributes of None are left out, ``_`` becomes ``-``."""
    pairs = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None)
    opening = "".join(f' {key}="{escape(str(value))}"' for key, value in pairs)
    return Html(f"<{name}{opening}>{join(children)}</{name}>")


def void(name: str, **attributes: object) -> Html:
    """An element without an end, such as ``img``."""
    return Html(tag(name, **attributes).removesuffix(f"</{name}>"))


def known(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


def number(value: float | None, digits: int = 0, scale: float = 1) -> str:
    """``value * scale`` with fixed digits; an en dash where it is undefined."""
    return signed(f"{value * scale:,.{digits}f}") if value is not None and known(value) else DASH


def signed(shown: str) -> str:
    """A minus sign as wide as a plus."""
    return MINUS + shown[1:] if shown.startswith("-") else shown


def percent(value: float | None, digits: int = 1) -> str:
    return number(value, digits, 100)


def points(value: float | None, base: float | None) -> str:
    """The difference of two shares in percentage points, with its sign."""
    if value is None or base is None or not (known(value) and known(base)):
        return DASH
    shown = f"{100 * (value - base):+.1f}"
    return "0.0" if float(shown) == 0 else signed(shown)


def trend(shown: str) -> str:
    """The CSS class of what ``points`` made."""
    return {"+": "number up", MINUS: "number down"}.get(shown[0], "number")


def bar(share: float | None) -> Html:
    """A small bar, 0..1."""
    width = 100 * share if share is not None and known(share) else 0
    return tag("span", tag("i", style=f"width:{width:.1f}%"), class_="bar")


def swatch(colour: Iterable[int]) -> Html:
    """A little square of a class's colour."""
    return tag("i", class_="swatch", style=f"background:{hexadecimal(colour)}")


def hexadecimal(colour: Iterable[int]) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)
