"""Copy presets/NAME.yaml to params.yaml.

Reads presets/; writes params.yaml. Edits of params.yaml that are neither committed nor a preset are not overwritten
unless --force is given.
"""

import argparse
import difflib
import subprocess
from pathlib import Path

from pipeline.core.errors import ConfigError
from pipeline.core.files import write_bytes
from pipeline.core.params import Params
from pipeline.core.progress import say
from pipeline.core.stage import run_command


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.preset", description=__doc__)
    parser.add_argument("name", help="streets, camvid, camvid_small, ...")
    parser.add_argument("--presets", type=Path, default=Path(__file__).resolve().parents[1] / "presets")
    parser.add_argument("--out", type=Path, default=Path("params.yaml"))
    parser.add_argument("--force", action="store_true", help="overwrite uncommitted edits")
    return parser


def main() -> None:
    args = arguments().parse_args()
    known = {path.stem: path for path in sorted(args.presets.glob("*.yaml"))}
    if args.name not in known:
        close = difflib.get_close_matches(args.name, known, n=1)
        hint = f", did you mean '{close[0]}'?" if close else "."
        raise ConfigError(f"{args.presets}: no preset '{args.name}'; expected one of {', '.join(known)}{hint}")
    if not args.force and would_lose_edits(args.out, list(known.values())):
        raise ConfigError(f"{args.out}: has edits that are not committed; commit or move them, or add --force.")
    Params(known[args.name])
    write_bytes(args.out, known[args.name].read_bytes())
    say(f"{args.out}: now the preset '{args.name}'. Look at dataset.root, then: python -m stages.check && dvc repro")


def would_lose_edits(path: Path, presets: list[Path]) -> bool:
    """Whether ``path`` holds something that is neither a preset nor in git."""
    if not path.exists() or any(path.read_bytes() == preset.read_bytes() for preset in presets):
        return False
    command = ["git", "-C", str(path.resolve().parent), "status", "--porcelain", "--", path.name]
    try:
        status = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return True
    return status.returncode != 0 or bool(status.stdout.strip())


if __name__ == "__main__":
    run_command(main)
