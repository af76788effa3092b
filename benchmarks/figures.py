"""The project in figures: how long its graph, presets and README are, and how far an image is from its loss.

    make figures        # or: python -m benchmarks.figures

tests/test_figures.py holds what must not grow.
"""

import ast
import importlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
PARAMS = """
seed: 0
dataset: {kind: folder, root: mydata, size: [48, 64], classes: [a, b], source: {kind: none, root: mydata, size: null}}
split: {labelled: 1.0}
network: {name: dsnet, width: 0.25, blocks: [1, 1, 1, 1]}
supervised: {steps: 2, batch: 2, optimiser: {name: adamw, lr: 0.01}}
runtime: {threads: 1}
"""
COMMANDS = (
    "prepare",
    "split",
    "fit --learner supervised.Supervised --section supervised --out models/supervised.safetensors",
)
FEWEST = 1000  # numbers in an array that counts as a picture


def lines(pattern: str) -> int:
    """Lines of all files that match."""
    return sum(len(path.read_text().splitlines()) for path in ROOT.glob(pattern) if path.is_file())


def sentences(page: str) -> list[str]:
    """The sentences of a page's prose: no code, tables or headings; a list's entry is one of its own."""
    prose = re.sub(r"```.*?```", "\n\n", page, flags=re.DOTALL)
    prose = re.sub(r"^(\||#|!).*$", "", prose, flags=re.MULTILINE)
    prose = re.sub(r"^(- |\d+\. )", "\n\n", prose, flags=re.MULTILINE)
    prose = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", prose)
    parts = [part for block in re.split(r"\n\s*\n", prose) for part in re.split(r"(?<=[.:;!?])\s+", block.strip())]
    return [" ".join(part.split()) for part in parts if re.search(r"\w", part)]


def prose(page: str) -> dict[str, float]:
    """Words of a long sentence (the 90th percentile), commas a sentence, lines, and pictures."""
    found = sentences(page)
    words = sorted(len(sentence.split()) for sentence in found)
    return {
        "lines": len(page.splitlines()),
        "words, 90th percentile": words[int(0.9 * (len(words) - 1))],
        "commas a sentence": sum(sentence.count(",") for sentence in found) / len(found),
        "pictures": len(re.findall(r"^!\[", page, re.MULTILINE)),
    }


def holds_picture(value: Any) -> bool:
    """Whether it is, or begins with, pixels or features of an image."""
    if isinstance(value, list | tuple) and value:
        value = value[0]
    if isinstance(value, Tensor):
        return value.dim() >= 3 and value.numel() > FEWEST and not isinstance(value, nn.Parameter)
    is_array = isinstance(value, np.ndarray) and value.ndim >= 2 and value.size > FEWEST
    return is_array or isinstance(value, Image.Image) or type(value).__name__ == "Batch"


def way_to_the_loss() -> dict[str, dict[str, int]]:
    """File -> function -> lines, of all functions that take or give pixels between an image file and its loss.

    A folder of a dozen pictures goes through ``prepare``, ``split`` and two steps of ``supervised``.
    """
    seen: set[tuple[str, int]] = set()

    def note(frame: FrameType, event: str, value: Any) -> None:
        file = frame.f_code.co_filename
        if not file.startswith((f"{ROOT}/fewmask", f"{ROOT}/pipeline", f"{ROOT}/stages")):
            return
        arguments = list(frame.f_locals.values()) if event == "call" else [value] if event == "return" else []
        if any(holds_picture(each) for each in arguments):
            seen.add((os.path.realpath(file), frame.f_code.co_firstlineno))

    with tempfile.TemporaryDirectory() as folder:
        here = Path.cwd()
        os.chdir(folder)
        try:
            write_pictures(Path("mydata"))
            Path("params.yaml").write_text(PARAMS)
            for command in COMMANDS:
                traced(command.split(), note)
        finally:
            os.chdir(here)
    return lengths(seen)


def write_pictures(root: Path) -> None:
    rng = np.random.default_rng(0)
    for name, shape, high in (("images", (48, 64, 3), 256), ("masks", (48, 64), 2)):
        (root / name).mkdir(parents=True)
        for number in range(12):
            Image.fromarray(rng.integers(0, high, shape, np.uint8)).save(root / name / f"{number}.png")


def traced(command: list[str], note: Callable[[FrameType, str, Any], None]) -> None:
    """Run a stage in this process under a profile function."""
    main = importlib.import_module(f"stages.{command[0]}").main
    before, sys.argv = sys.argv, command
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        main()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
        sys.argv = before
        torch.use_deterministic_algorithms(False)


def lengths(seen: set[tuple[str, int]]) -> dict[str, dict[str, int]]:
    """Of the functions that begin in these lines of files."""
    found: dict[str, dict[str, int]] = {}
    for file in sorted({file for file, _ in seen}):
        for node in ast.walk(ast.parse(Path(file).read_text())):
            if isinstance(node, ast.FunctionDef):
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                if (file, first) in seen:
                    name = str(Path(file).relative_to(ROOT))
                    found.setdefault(name, {})[node.name] = (node.end_lineno or 0) - node.lineno + 1
    return found


def main() -> None:
    way = way_to_the_loss()
    rows = {
        "dvc.yaml, lines": lines("dvc.yaml"),
        "presets, lines": lines("presets/**/*.yaml"),
        **{f"README, {name}": value for name, value in prose((ROOT / "README.md").read_text()).items()},
        "tests, lines": lines("tests/**/*.py"),
        "image file to loss, files": len(way),
        "image file to loss, lines of functions": sum(sum(functions.values()) for functions in way.values()),
    }
    for name, value in rows.items():
        print(f"{name:40} {value:8.4g}")
    for file, functions in way.items():
        print(f"  {file}: {', '.join(functions)}")


if __name__ == "__main__":
    main()
