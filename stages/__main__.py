"""One command for all stages: `fewmask predict --model ...` is `python -m stages.predict --model ...`."""

import importlib
import sys
from pathlib import Path

from fewmask.core.errors import ConfigError
from fewmask.core.stage import run_command

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in NAMES:
        raise ConfigError(f"fewmask: found {name!r}; expected a stage: {', '.join(NAMES)}. Add --help to any of them.")
    del sys.argv[1]
    importlib.import_module(f"{__package__}.{name}").main()


def command() -> None:
    """What the installed script `fewmask` runs."""
    run_command(main)


if __name__ == "__main__":
    command()
