"""Problems are collected into one error."""

import pytest

from fewmask.core.errors import DataError, raise_all


def test_no_problem_is_no_error() -> None:
    assert raise_all([], DataError) is None


@pytest.mark.parametrize(("count", "lines", "last"), [(1, 1, "p0"), (20, 20, "p19"), (21, 21, "and 1 more")])
def test_the_first_twenty_are_shown(count: int, lines: int, last: str) -> None:
    with pytest.raises(DataError) as caught:
        raise_all([f"p{number}" for number in range(count)], DataError)
    shown = str(caught.value).splitlines()
    assert (len(shown), shown[0], shown[-1]) == (lines, "p0", last)
