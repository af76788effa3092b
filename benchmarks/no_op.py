"""``dvc repro`` where nothing has changed."""

import json
import subprocess
import sys

from benchmarks.inputs import ROOT
from benchmarks.timing import Bench, Result, take_turns


def measure(bench: Bench) -> list[Result]:
    """Skipped, with a note, unless ``dvc status`` is clean."""
    what = "dvc repro with nothing to do"
    dvc = [sys.executable, "-m", "dvc"]
    status = subprocess.run([*dvc, "status", "--json"], cwd=ROOT, capture_output=True, text=True, check=False)
    if status.returncode or json.loads(status.stdout or "{}"):
        return [Result(what, None, "s", most=1.5, note="data/ or models/ are not up to date: run 'dvc repro' first")]

    def repro() -> None:
        subprocess.run([*dvc, "repro"], cwd=ROOT, capture_output=True, check=True)

    return [Result(what, take_turns(bench.some(5, 2), repro=repro).seconds()["repro"], "s", most=1.5)]
