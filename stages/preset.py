"""Write a preset to params.yaml, whole: presets/NAME.yaml, or the row NAME of a table (presets/three_stage/table.yaml).

Reads presets/, and dvc.yaml where there is one; writes params.yaml. Edits of params.yaml that are neither committed nor
a preset are not overwritten unless --force is given.
"""

import argparse
import subprocess
from pathlib import Path

from fewmask.checking.graph import declared, nodes
from fewmask.checking.presets import PRESETS, is_preset, names_of_presets, read_preset
from fewmask.core.errors import ConfigError
from fewmask.core.files import write_bytes
from fewmask.core.progress import say
from fewmask.core.stage import run_command


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.preset", description=__doc__)
    parser.add_argument("name", nargs="?", help="such as camvid or three_stage-voc-50th-coco; without, all are listed")
    parser.add_argument("--presets", type=Path, default=PRESETS, help="a clone has it; an installed fewmask has none")
    parser.add_argument("--graph", type=Path, default=Path("dvc.yaml"), help="each key that it reads is required")
    parser.add_argument("--out", type=Path, default=Path("params.yaml"))
    parser.add_argument("--force", action="store_true", help="overwrite uncommitted edits")
    return parser


def main() -> None:
    args = arguments().parse_args()
    if not args.presets.is_dir():
        found = f"--presets: {args.presets}: no such folder; expected one of params files and tables"
        raise ConfigError(f"{found}. A clone of fewmask has one: add --presets CLONE/presets.")
    if args.name is None:
        say("\n".join(names_of_presets(args.presets)))
        return
    needed = declared(nodes(args.graph)) if args.graph.exists() else []
    text = read_preset(args.name, args.presets, needed)
    if not args.force and would_lose_edits(args.out, args.presets):
        raise ConfigError(f"{args.out}: has edits that are not committed; commit or move them, or add --force.")
    write_bytes(args.out, text.encode())
    say(f"{args.out}: now the preset '{args.name}'. Look at dataset.root, then: python -m stages.check && dvc repro")


def would_lose_edits(path: Path, presets: Path) -> bool:
    """Whether ``path`` holds something that is neither one of the ``presets`` nor in git."""
    if not path.exists() or is_preset(path.read_bytes(), presets):
        return False
    command = ["git", "-C", str(path.resolve().parent), "status", "--porcelain", "--", path.name]
    try:
        status = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return True
    return status.returncode != 0 or bool(status.stdout.strip())


if __name__ == "__main__":
    run_command(main)
