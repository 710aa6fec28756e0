"""What is invisible becomes visible, and prompts get names that tell them apart."""

from __future__ import annotations

import pytest

from verl_nthr.heatmap.text import labels, number, on_one_line, percent, printable


def test_printable() -> None:
    assert printable("a b\n\t\x00\x7f") == "a b\n␉␀␡"
    assert on_one_line("a\n\n") == "a↵↵"
    assert printable("\u202ex\u200b\ud800\u2028\u00a0") == "⟨U+202E⟩x⟨U+200B⟩⟨U+D800⟩⟨U+2028⟩\u00a0"
    assert printable("Ünïcode ≥ 日本 🙂") == "Ünïcode ≥ 日本 🙂"


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        (["<user>550+2=?<end>", "<user>57+9=?<end>"], ["550+2", "57+9"]),
        (["Solve: 12 apples", "Solve: 13 apples", "Solve: 12 apples"], ["12", "13", "12"]),
        (["same", "same"], ["same", "same"]),
        (["one"], ["one"]),
        (["", "x"], ["", "x"]),
        (["a a", "a a a"], ["a", "a a"]),
        (["x" * 200, "y\nz"], ["x" * 120 + "…", "y↵z"]),
    ],
)
def test_labels(prompts: list[str], expected: list[str]) -> None:
    assert labels(prompts) == expected


def test_numbers() -> None:
    assert [number(-1234.5), number(0.00012345), number(None)] == ["−1.23e+03", "0.000123", "–"]
    assert [percent(0.0475), percent(None)] == ["4.8 %", "–"]
