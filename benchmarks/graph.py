"""Run the commands of dvc.yaml in a folder of their own, without DVC: many seeds and settings side by side.

    python -m benchmarks.graph --params presets/camvid_small.yaml --set seed=1 --folder runs/1

Finished stages are passed over when it is run again; a stage that was stopped goes on from its checkpoint.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from ruamel.yaml import YAML

from fewmask.checking.graph import nodes as graph_nodes

ROOT = Path(__file__).resolve().parents[1]
RUNNING: set["subprocess.Popen[bytes]"] = set()
STOPPING = threading.Event()


@cache
def nodes() -> dict[str, dict[str, Any]]:
    """Stage name -> {cmd, deps, outs}; what dvc.yaml takes from params.yaml, names of code, is left as it is."""
    kinds = ("outs", "metrics", "plots")
    return {
        name: {
            "cmd": node["cmd"],
            "deps": node.get("deps", []),
            "outs": [
                path
                for kind in kinds
                for out in node.get(kind, [])
                for path in (out if isinstance(out, dict) else [out])
            ],
        }
        for name, node in graph_nodes(ROOT / "dvc.yaml").items()
    }


def needed(graph: dict[str, dict[str, Any]], targets: list[str]) -> list[str]:
    """The targets and their ancestors in an order that works."""
    maker = {out: name for name, node in graph.items() for out in node["outs"]}
    order: list[str] = []

    def visit(name: str) -> None:
        for dep in graph[name]["deps"]:
            if dep in maker:
                visit(maker[dep])
        if name not in order:
            order.append(name)

    for target in targets:
        visit(target)
    return order


def override(params: dict[str, Any], assignment: str) -> None:
    """`a.b=value` into a nested mapping; the value is YAML."""
    key, equals, value = assignment.partition("=")
    if not equals:
        raise SystemExit(f"--set: found '{assignment}'; expected key=value.")
    *parents, last = key.split(".")
    for parent in parents:
        params = params.setdefault(parent, {})
    params[last] = YAML(typ="safe").load(value)


def run(folder: Path, params: dict[str, Any], targets: list[str], role: str) -> None:
    """Run the stages of ``targets`` in ``folder`` that have no mark of being done; append to its log."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "params.yaml").open("w") as file:
        YAML().dump(params, file)
    graph = nodes()
    for name in needed(graph, targets):
        command = graph[name]["cmd"]
        step(folder, name, f"{command} --role {role}" if "stages.evaluate" in command else command)


def evaluation(model: str, tagger: str = "") -> str:
    """What the scores of a model, or of its fusion with a tagger, are called."""
    return f"{model}_{tagger}" if tagger else model


def evaluate(folder: Path, model: str, tagger: str = "", *, role: str) -> None:
    """Score models/<model>.safetensors of ``folder``, whether the graph has a node for it or not."""
    name = evaluation(model, tagger)
    path = f"models/{name}.safetensors"
    if tagger:
        pair = f"--model models/{model}.safetensors --tagger models/{tagger}.safetensors"
        step(folder, name, f"python -m stages.fuse {pair} --out {path}")
    files = f"--out metrics/{name}.json --plots metrics/plots/{name}"
    step(folder, f"evaluate@{name}", f"python -m stages.evaluate --model {path} {files} --role {role}")


def step(folder: Path, name: str, command: str) -> None:
    """Run one command in ``folder`` unless it is marked as done; the mark holds its seconds."""
    mark = folder / "done" / name
    if mark.exists():
        return
    begin = time.monotonic()
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "DVC_ROOT": str(folder.resolve())}
    line = [sys.executable if word == "python" else word for word in shlex.split(command)]
    with (
        (folder / "log.txt").open("a") as log,
        subprocess.Popen(line, cwd=folder, env=environment, stdout=log, stderr=log) as child,
    ):
        RUNNING.add(child)
        if STOPPING.is_set():  # asked after it can be found: it is ended here or by stop()
            child.terminate()
        code = child.wait()
    RUNNING.discard(child)
    if code:
        raise SystemExit(f"{name} ended with {code}: see {folder}/log.txt")
    mark.parent.mkdir(exist_ok=True)
    mark.write_text(f"{time.monotonic() - begin:.1f}\n")


def stop(number: int, frame: FrameType | None) -> NoReturn:
    """A signal's handler: end what runs, which keeps its checkpoint, start nothing more, and leave."""
    STOPPING.set()
    for child in list(RUNNING):
        child.terminate()
    raise SystemExit(128 + number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=ROOT / "params.yaml")
    parser.add_argument("--set", nargs="*", default=[])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--role", choices=("test", "validation"), default="test", help="what evaluate scores")
    parser.add_argument("--target", nargs="+", default=["evaluate@supervised", "evaluate@auxiliary"])
    args = parser.parse_args()
    params = YAML(typ="safe").load(args.params.read_text())
    for assignment in args.set:
        override(params, assignment)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    run(args.folder, params, args.target, args.role)


if __name__ == "__main__":
    main()
