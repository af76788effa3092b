"""A damaged checkpoint is passed over with a word, and never used; nothing in one can run code."""

import pytest
import torch

from fewmask.core.errors import ArtefactError
from fewmask.learning.checkpoint import load_newest, save


@pytest.fixture
def folder(tmp_path):
    for step in (1, 2):
        save(tmp_path, step, {"step": step, "x": torch.full((3,), float(step))})
    return tmp_path


def test_none_where_there_is_none(tmp_path):
    assert load_newest(tmp_path) is None


def test_newest_first(folder):
    assert load_newest(folder)["step"] == 2


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "no digest"])
def test_a_damaged_one_gives_way_to_the_one_before(folder, capsys, damage):
    path = folder / "step-00000002.pt"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "no digest":
        path.with_suffix(".sha256").unlink()
    else:
        path.write_bytes({"flip": bytes(data), "truncate": data[:50], "empty": b""}[damage])
    assert load_newest(folder)["step"] == 1
    assert "step-00000002.pt" in capsys.readouterr().err


def test_none_sound_is_an_error(folder):
    for path in folder.glob("*.pt"):
        path.write_bytes(b"")
    with pytest.raises(ArtefactError, match="none of its 2 checkpoints is sound"):
        load_newest(folder)


def test_same_state_same_bytes(tmp_path):
    state = {"x": torch.arange(4.0)}
    save(tmp_path / "a", 1, state)
    save(tmp_path / "b", 1, state)
    (a,), (b,) = ((tmp_path / name).glob("*.pt") for name in "ab")
    assert a.read_bytes() == b.read_bytes()
