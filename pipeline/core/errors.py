"""What may go wrong at a person's hands: one sentence, one exit code.

A message says the file or key, what was found, what was expected, and what to do.
"""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake that a person can fix; printed without a traceback."""

    code = 2


class ConfigError(UserError):
    """params.yaml or the command line."""

    code = 2


class DataError(UserError):
    """The person's images, masks and lists."""

    code = 3


class ArtefactError(UserError):
    """A store or checkpoint that is damaged or does not belong here."""

    code = 4


class BusyError(UserError):
    """Another process is making the same thing."""

    code = 5


class NonFiniteError(UserError):
    """Training left the finite numbers."""

    code = 6


SHOWN = 20


def raise_all(problems: list[str], kind: type[UserError]) -> None:
    """Raise one error that lists every problem (the first 20 in full); nothing where there is none."""
    if not problems:
        return
    shown = problems[:SHOWN]
    if len(problems) > SHOWN:
        shown.append(f"and {len(problems) - SHOWN} more")
    raise kind("\n".join(shown))


def closest(word: object, known: Iterable[object], most: int = 1) -> list[str]:
    """The known words that are most alike, the best first."""
    return difflib.get_close_matches(str(word), [str(k) for k in known], n=most)


def did_you_mean(word: object, known: Iterable[object], most: int = 1) -> str:
    """``, did you mean 'x'?`` of the known words that are most alike, or nothing."""
    close = " or ".join(f"'{each}'" for each in closest(word, known, most))
    return f", did you mean {close}?" if close else ""
