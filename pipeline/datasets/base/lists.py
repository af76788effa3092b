"""Images by the text files that list them, as the data sets of PASCAL do: names, and the samples they stand for."""

from collections.abc import Sequence
from pathlib import Path

from fewmask.core.errors import DataError, raise_all
from fewmask.datasets.base.dataset import Sample

Names = dict[str, str]  # name -> the file and line where it stands


def read_names(path: Path, key: str) -> Names:
    """The images of a list, one a line (a bare name, or the paths of image and mask) -> where in the list each stands.

    Args:
        key: the key of params.yaml that says where the list is.

    Raises:
        DataError: no such list, or an empty one.
    """
    expected = f"expected names of images, one a line. Take the list as it was published, or fix {key}."
    if not path.is_file():
        raise DataError(f"{path}: no such file; {expected}")
    names: Names = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        if line.strip():
            names.setdefault(Path(line.split()[0]).stem, f"{path}:{number}")
    if not names:
        raise DataError(f"{path}: holds no name; {expected}")
    return names


def find_leaks(path: Path, names: Names, held_out: Names) -> list[str]:
    """A line that says how many ``names`` of the list at ``path`` are in val.txt; none where all is well."""
    leaks = sorted(names.keys() & held_out.keys())
    if not leaks:
        return []
    found = f"{len(leaks)} names are in val.txt, too, such as '{leaks[0]}': a leak"
    return [f"{path}: {found}. Remove them from one of the lists."]


def named_samples(
    lists: dict[str, Names], folders: dict[str, dict[str, Path]], problems: Sequence[str] = ()
) -> list[Sample]:
    """The named images of each role, sorted, with their masks; ``folders``: first that of the images, then the masks'.

    Raises:
        DataError: ``problems``, what is known to be wrong, and a line for every name without an image or a mask.
    """
    incomplete = [
        f"{where}: '{name}' is not in {' nor in '.join(lacking)}; expected an image and a mask. Add or remove it."
        for names in lists.values()
        for name, where in names.items()
        if (lacking := [folder for folder, files in folders.items() if name not in files])
    ]
    raise_all([*problems, *incomplete], DataError)
    images, masks = folders.values()
    return [Sample(name, role, images[name], masks[name]) for role, names in lists.items() for name in sorted(names)]
