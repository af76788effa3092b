"""Problems are collected into one error; a wrong word is answered with those like it."""

import pytest

from fewmask.core.errors import DataError, did_you_mean, raise_all


def test_no_problem_is_no_error() -> None:
    assert raise_all([], DataError) is None


@pytest.mark.parametrize(("count", "lines", "last"), [(1, 1, "p0"), (20, 20, "p19"), (21, 21, "and 1 more")])
def test_the_first_twenty_are_shown(count: int, lines: int, last: str) -> None:
    with pytest.raises(DataError) as caught:
        raise_all([f"p{number}" for number in range(count)], DataError)
    shown = str(caught.value).splitlines()
    assert (len(shown), shown[0], shown[-1]) == (lines, "p0", last)


@pytest.mark.parametrize(
    ("most", "expected"), [(1, ", did you mean 'voc_coco'?"), (2, ", did you mean 'voc_coco' or 'voc_coca'?")]
)
def test_a_wrong_word_is_answered_with_the_most_alike(most: int, expected: str) -> None:
    assert did_you_mean("voc_cocos", ["voc_coca", "streets", "voc_coco"], most) == expected
    assert did_you_mean("xyz", ["voc"], most) == ""
