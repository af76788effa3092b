"""The allocator's settings are a wish, not a need."""

import ctypes

import numpy as np
import pytest

from fewmask.nets.base.device import keep_memory


def test_it_answers_and_memory_goes_on_working() -> None:
    answer = keep_memory()
    assert isinstance(answer, bool)
    assert keep_memory() is answer
    for _ in range(3):
        assert np.ones(20 << 20, np.uint8).sum() == 20 << 20


@pytest.mark.parametrize("trouble", [OSError, AttributeError])
def test_a_c_library_without_mallopt_is_no_harm(monkeypatch: pytest.MonkeyPatch, trouble: type[Exception]) -> None:
    def refuse(name: object) -> object:
        raise trouble

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert keep_memory() is False


def test_a_c_library_that_refuses_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        @staticmethod
        def mallopt(option: int, value: int) -> int:
            return 0

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Refusing)
    assert keep_memory() is False
