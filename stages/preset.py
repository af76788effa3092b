"""Write a preset to params.yaml: presets/NAME.yaml, or the row NAME of a table such as presets/three_stage/table.yaml.

Reads presets/; writes params.yaml. Edits of params.yaml that are neither committed nor a preset are not overwritten
unless --force is given.
"""

import argparse
import difflib
import subprocess
from collections.abc import Mapping
from pathlib import Path

from fewmask.checking.presets import PRESETS, Cell, find_presets, is_preset
from fewmask.core.errors import ConfigError
from fewmask.core.files import write_bytes
from fewmask.core.params import Params
from fewmask.core.progress import say
from fewmask.core.stage import run_command


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.preset", description=__doc__)
    parser.add_argument("name", help="such as streets, camvid or three_stage-voc-50th-coco; a wrong one lists all")
    parser.add_argument("--presets", type=Path, default=PRESETS)
    parser.add_argument("--out", type=Path, default=Path("params.yaml"))
    parser.add_argument("--force", action="store_true", help="overwrite uncommitted edits")
    return parser


def main() -> None:
    args = arguments().parse_args()
    if not args.presets.is_dir():
        raise ConfigError(f"--presets: {args.presets}: no such folder; expected one of params files and tables.")
    known = find_presets(args.presets)
    if args.name not in known:
        close = difflib.get_close_matches(args.name, known, n=1)
        hint = f", did you mean '{close[0]}'?" if close else "."
        raise ConfigError(f"{args.presets}: no preset '{args.name}'; expected one of {', '.join(known)}{hint}")
    if not args.force and would_lose_edits(args.out, known):
        raise ConfigError(f"{args.out}: has edits that are not committed; commit or move them, or add --force.")
    if (file := args.presets / f"{args.name}.yaml").is_file():
        Params(file)
    write_bytes(args.out, known[args.name].read_bytes())
    say(f"{args.out}: now the preset '{args.name}'. Look at dataset.root, then: python -m stages.check && dvc repro")


def would_lose_edits(path: Path, presets: Mapping[str, Path | Cell]) -> bool:
    """Whether ``path`` holds something that is neither a preset nor in git."""
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
