"""What a report can show: everything that was made, or exactly what a command names."""

from argparse import Namespace
from contextlib import ExitStack
from pathlib import Path

from fewmask.core.errors import ArtefactError
from fewmask.core.progress import warn
from fewmask.reporting.results import evaluated, routes_file
from fewmask.stores.images import Images
from fewmask.stores.labels import Labels
from fewmask.stores.split import Split


def what_there_is(args: Namespace) -> Namespace:
    """The arguments; where they name no methods, with all that was made."""
    folder = args.metrics_folder
    args.named = args.methods is not None
    if not args.named:
        args.methods, args.history = evaluated(folder), sorted(folder.glob("history/*.csv"))
        args.selection = next(iter(sorted(folder.glob("selection/*.json"))), None)
        args.experiments = existing(folder / "plots/experiments.csv")
        stores = {path.stem: path for path in sorted(args.labels_folder.glob("*.h5"))}
        if args.selection:  # of the store that was filtered; neither it nor the result is a round
            args.labels = stores.pop(args.selection.stem, None)
            stores.pop(f"{args.selection.stem}_filtered", None)
        args.rounds = list(stores.values())
    args.routed = next((name for name in args.methods if existing(routes_file(folder, name))), None)
    return args


def existing(path: Path) -> Path | None:
    return path if path.is_file() else None


def open_stores(
    paths: list[Path], images: Images, split: Split, stack: ExitStack, *, named: bool
) -> dict[Path, Labels]:
    """Label stores of these images; others are left out with a warning, unless they were asked for."""
    stores = {}
    for path in paths:
        store = stack.enter_context(Labels(path))
        try:
            store.require([*split.unlabelled, *split.validation], images, split.digest)
            stores[path] = store
        except ArtefactError as error:
            if named:
                raise
            warn(f"left out: {error}")
    return stores
