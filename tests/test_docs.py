"""The documentation is true where a machine can tell: links, files, the drawing of imports and the example learner."""

import ast
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch

from fewmask.learning.learner import Batch, Learner, Task
from fewmask.nets.base.normalise import Normalise
from fewmask.nets.base.published import build
from fewmask.nets.dsnet.dsnet import Config as DSNet

ROOT = Path(__file__).resolve().parents[1]
ARTEFACTS = ("data/", "models/", "metrics/")  # what stages make
ELSEWHERE = ("presets/mine.", "presets/NAME.", "tools/dataset_converters/", ".../")  # a reader's, another project's
BANNED = re.compile(r"\b(mend(s|ed|ing)?|by decree|to the bit|of which)\b", re.IGNORECASE)
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s#]*)(?:#([^)\s]+))?\)")
NAMED = re.compile(r"(?<![\w./:-])[\w.-]+(?:/[\w.-]+)+\.(?:py|md|yaml|json)\b")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
ARROW = re.compile(r"^ +(\w+) -->(?:\|[^|]*\|)? (\w+)$", re.MULTILINE)


ALL = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md"))]
PAGES = ["README.md", *ALL]


@cache
def text(page: str) -> str:
    return (ROOT / page).read_text()


def links(page: str) -> Iterator[tuple[str, str]]:
    """Path from the root, and heading ("" for none), of each link that stays inside the project."""
    for target, heading in LINK.findall(FENCE.sub("", text(page))):
        path = (ROOT / page).parent / target if target else ROOT / page
        yield Path(os.path.relpath(path, ROOT)).as_posix(), heading


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", text(page)), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    for path, heading in links(page):
        assert (ROOT / path).exists(), path
        assert not heading or heading in anchors(path), f"{path}#{heading}"


@pytest.mark.parametrize("page", PAGES)
def test_every_named_file_exists(page):
    """Named from the root or from pipeline/; a link's target is another test's."""
    for name in NAMED.findall(LINK.sub("]", text(page))):
        if not name.startswith((*ARTEFACTS, *ELSEWHERE)):
            assert any((base / name).exists() for base in (ROOT, ROOT / "pipeline")), name


def test_every_page_that_code_and_params_name_exists():
    files = [ROOT / "params.yaml", ROOT / "dvc.yaml", *ROOT.glob("presets/**/*.yaml")]
    files += [
        path for top in ("pipeline", "stages", "benchmarks", "experiments") for path in ROOT.glob(f"{top}/**/*.py")
    ]
    for file in files:
        named = re.findall(r"docs/[\w./-]+\.md", file.read_text())
        assert all((ROOT / name).is_file() for name in named), f"{file}: {named}"


@pytest.mark.parametrize("page", PAGES)
def test_prose_has_short_lines_and_plain_words(page):
    prose = [line for line in FENCE.sub("", text(page)).splitlines() if not line.startswith("|")]
    assert not [line for line in prose if len(line) > 100]
    assert not BANNED.findall(text(page))


def test_every_page_is_reachable_from_the_index():
    found, left = set(), ["docs/index.md"]
    while left:
        page = left.pop()
        if page not in found and page.endswith(".md") and (ROOT / page).is_file():
            found.add(page)
            left += [path for path, _ in links(page)]
    assert set(ALL) <= found


def unit(parts: tuple[str, ...]) -> str:
    """The box of the drawing for a file or module: a folder of pipeline/, its one file beside them, or stages."""
    return "stages" if parts[0] == "stages" else parts[1].removesuffix(".py")


@cache
def imports() -> dict[str, set[str]]:
    """Folder of pipeline/, or stages -> those it imports."""
    found: dict[str, set[str]] = {}
    for path in [*ROOT.glob("pipeline/*.py"), *ROOT.glob("pipeline/*/**/*.py"), *ROOT.glob("stages/*.py")]:
        own = unit(path.relative_to(ROOT).parts)
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        modules = {tuple(str(node.module).split(".")) for node in nodes}
        used = {unit(module) for module in modules if module[0] == "fewmask" and len(module) > 1}
        found[own] = found.get(own, set()) | used - {own}
    return found


def reached(start: str) -> set[str]:
    return {start}.union(*(reached(other) for other in imports().get(start, ())))


def test_the_drawing_of_the_architecture_shows_the_imports():
    """An arrow for every import between folders that no longer way implies, and no other."""
    needed = {
        (own, used)
        for own, others in imports().items()
        for used in others
        if not any(used in reached(other) for other in others - {used})
    }
    assert set(ARROW.findall(text("docs/architecture.md"))) == needed


def test_the_example_of_a_learner_trains():
    """The code of docs/training.md, with the imports that every method has."""
    source = re.findall(r"^```python\n(.*?)^```", text("docs/training.md"), re.MULTILINE | re.DOTALL)
    names = """
from collections.abc import Iterator
from typing import Any
from torch import nn
from fewmask.consistency.ema import Ema
from fewmask.learning.config import UnlabelledConfig
from fewmask.learning.learner import Batch, Learner, Task, Update
from fewmask.learning.losses import cross_entropy
"""
    scope: dict = {}
    exec(names + source[0], scope)
    kind: type[Learner] = scope["MeanTeacher"]
    config = kind.schema.model_validate({"steps": 2, "batch": 2, "unlabelled": 2, "optimiser": {"lr": 0.01}})
    section = DSNet(width=0.25, blocks=[1, 1, 1, 1])
    normalise = Normalise((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    learner = kind(config, Task(["a", "b", "c"], section.model_dump(), lambda: build(section, 3), normalise))
    x = torch.rand(2, 3, 32, 48)
    updates = learner.train().step(Batch(x, torch.zeros(2, 32, 48, dtype=torch.long), x), 0.5)
    update = next(updates)
    update.loss.backward()
    assert set(update.terms) == {"sup", "mt"}
    assert all(parameter.grad is not None for parameter in learner.players()[update.player].parameters())
    assert next(updates, None) is None
    assert learner.result()[0]["name"] == "dsnet"
