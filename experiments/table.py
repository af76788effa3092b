"""Print the table of docs/results from files that `python -m experiments.run methods` wrote.

    python -m experiments.table experiments/results/FILE.json ...

Scores are mIoU in percent, means over the seeds; the difference has its 95 % interval. Steps are those of all trainings
that lead to the method.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.grids import control_of
from fewmask.core.errors import DataError
from fewmask.core.progress import say
from fewmask.core.stage import run_command

COLUMNS = ("data", "labelled", "method", "control", "mIoU", "difference", "seeds", "steps")


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def row(name: str, rows: dict[str, Any]) -> list[str]:
    """Method, mIoU of its control, its own, and what is between them."""
    method, control = rows[name], rows.get(control_of(name))
    if control is None:
        return [name, "", percent(method["miou"]["mean"]), ""]
    less = method["less control"]
    difference = f"{100 * less['mean']:+.1f} ({100 * less['low']:+.1f} to {100 * less['high']:+.1f})"
    return [name, percent(control["miou"]["mean"]), percent(method["miou"]["mean"]), difference]


def lines(path: Path) -> Iterator[list[str]]:
    """The cells of each method and count of labelled images in a file.

    Raises:
        DataError: not such a file.
    """
    try:
        result = json.loads(path.read_text())
        title = path.stem if result["role"] == "test" else f"{path.stem} ({result['role']})"
        for count, rows in result["labelled"].items():
            for name in rows:
                if name not in map(control_of, rows):
                    steps = sum(training["steps"] for training in result["rows"][name]["trainings"].values())
                    yield [title, count, *row(name, rows), str(len(result["seeds"])), str(steps)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        expected = "expected what 'python -m experiments.run methods' writes. Run that again."
        raise DataError(f"{path}: cannot be read ({type(error).__name__}: {error}); {expected}") from error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    cells = [COLUMNS, ["---"] * len(COLUMNS), *(line for path in parser.parse_args().files for line in lines(path))]
    say("\n".join(f"| {' | '.join(line)} |" for line in cells))


if __name__ == "__main__":
    run_command(main)
