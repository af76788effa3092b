"""What a person reads while they wait is what was written, on one line."""

import pytest

from fewmask.core.progress import Progress, say, warn

ODD = "params.yaml:100: [bold]a[/bold] :smile: " + "x" * 200


def test_lines_are_neither_dressed_nor_broken(capsys: pytest.CaptureFixture[str]) -> None:
    """rich would turn ":100:" into a sign, "[bold]" into a style, and wrap at the width of the terminal."""
    say(ODD)
    warn(ODD)
    out, err = capsys.readouterr()
    assert out == ODD + "\n"
    assert err == f"warning: {ODD}\n"


def test_progress_without_a_terminal_is_plain_lines_with_the_last_one_always(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Progress("label", 3, "image") as progress:
        for done in (1, 2, 3):
            progress.show(done, "note")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("[label] image 3 of 3")
    assert line.endswith("note")
