"""What holds of class lists: two data sets that are learned from together have the same, in the same order."""

from collections.abc import Sequence

from pipeline.core.errors import DataError

BACKGROUND = "background"  # the class of this name, if there is one, is in every image: tagged always, dropped never


def require_same_classes(source: Sequence[str], target: Sequence[str]) -> None:
    """Refuse a source domain whose class list is not the target's.

    Raises:
        DataError: with the classes that only one of the two has, or the first that stands elsewhere.
    """
    lists = {"source": (source, target), "target": (target, source)}
    alone = {title: [name for name in names if name not in others] for title, (names, others) in lists.items()}
    found = [f"only in the {title}: {', '.join(names)}" for title, names in alone.items() if names]
    moved = [pair for pair in zip(source, target, strict=False) if pair[0] != pair[1]]
    if moved and not found:
        found = [f"another order: where the target has {moved[0][1]}, the source has {moved[0][0]}"]
    if found:
        remedy = "Choose a dataset.source with the classes of dataset, or give both one list, then run 'dvc repro'."
        raise DataError(f"dataset.source: {'; '.join(found)}; expected the same classes in the same order. {remedy}")
