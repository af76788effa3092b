"""The picture of the ways through a network: what there is of it, how dark, and where."""

import xml.etree.ElementTree as ET
from typing import Any

import pytest
import torch

from fewmask.drawing.gate_grid import FAINT, RADIUS, drawing
from fewmask.nets.routing import routing
from fewmask.scoring.gates import rows


@pytest.fixture
def table() -> list[dict[str, Any]]:
    """Ten cells; gates are 0.5, those of the initial cell's way down 0, and no image uses the last cell."""
    grid = routing.full_grid(3)
    cells = [paths for layer in grid for paths in layer]
    able = torch.tensor([[path in paths for path in ("keep", "up", "down")] for paths in cells])
    gates = 0.5 * able[None].repeat(2, 1, 1)
    gates[:, 0, 2] = gates[:, -1] = 0
    return rows(routing.build(routing.Config(layers=3, channels=4), 3), gates)


def elements(picture: str, name: str) -> list[ET.Element]:
    return ET.fromstring(picture).findall(f".//{{http://www.w3.org/2000/svg}}{name}")


def test_a_line_a_path_and_a_place_a_cell(table):
    """Paths of the last layer lead to the decoder and are not drawn."""
    picture = drawing(table)
    assert ET.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"
    assert len(elements(picture, "line")) == sum(len(paths) for layer in routing.full_grid(3)[:-1] for paths in layer)
    places = [circle for circle in elements(picture, "circle") if circle.get("class") == "place"]
    assert [place.get("fill-opacity") for place in places] == ["1.00"] * 9 + ["0.00"]
    assert len({(place.get("cx"), place.get("cy")) for place in places}) == 10


def test_lines_lead_from_cell_to_cell(table):
    """To the next layer: on the same level, one finer, one coarser."""
    picture = drawing(table)
    circles = [circle for circle in elements(picture, "circle") if len(circle)]
    places = {circle[0].text.partition(":")[0]: (circle.get("cx"), circle.get("cy")) for circle in circles}
    ends = {
        line[0].text.partition(":")[0]: ((line.get("x1"), line.get("y1")), (line.get("x2"), line.get("y2")))
        for line in elements(picture, "line")
    }
    for path, stride in (("keep", 8), ("up", 4), ("down", 16)):
        expected = (places["layer 1, stride 8"], places[f"layer 2, stride {stride}"])
        assert ends[f"layer 1, stride 8, {path}"] == expected
    assert {place for pair in ends.values() for place in pair} == set(places.values())


def test_a_path_is_as_dark_as_its_gate(table):
    """Half open: 0.08 + 0.92 / 2; closed ones are faint."""
    picture = drawing(table)
    shown = {line[0].text: line.get("stroke-opacity") for line in elements(picture, "line")}
    assert shown["layer 0, stride 4, keep: mean gate 0.50"] == "0.54"
    assert shown["layer 0, stride 4, down: mean gate 0.00"] == f"{FAINT:.2f}"
    assert shown["layer 1, stride 8, up: mean gate 0.50"] == "0.54"
    told = [circle[0].text for circle in elements(picture, "circle") if len(circle)]
    assert (told[0], told[-1]) == ("layer 0, stride 4: used by 100.0 %", "layer 3, stride 32: used by 0.0 %")


def test_all_of_it_lies_in_the_picture(table):
    picture = drawing(table)
    width, height = (float(side) for side in ET.fromstring(picture).get("viewBox").split()[2:])
    for circle in elements(picture, "circle"):
        assert RADIUS <= float(circle.get("cx")) <= width - RADIUS
        assert RADIUS <= float(circle.get("cy")) <= height - RADIUS
    assert [text.text for text in elements(picture, "text")] == [
        "stride 4",
        "stride 8",
        "stride 16",
        "stride 32",
        *"0123",
    ]


def test_a_network_without_gates_is_a_sentence():
    assert [text.text for text in elements(drawing([]), "text")] == ["This network has no gates."]
