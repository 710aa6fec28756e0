"""Prompts get names that tell them apart, in a time that grows with their length."""

from __future__ import annotations

import pytest

from verl_nthr.heatmap.text import labels, number, percent


def test_labels() -> None:
    cases = [
        (["<user>550+2=?<end>", "<user>57+9=?<end>"], ["550+2", "57+9"]),
        (["Solve: 12 apples", "Solve: 13 apples", "Solve: 12 apples"], ["12", "13", "12"]),
        (["same", "same"], ["same", "same"]),
        (["one"], ["one"]),
        (["", "x"], ["", "x"]),
        (["a a", "a a a"], ["a", "a a"]),
        (["x" * 200, "y\nz"], ["x" * 120 + "…", "y↵z"]),
    ]
    assert [labels(prompts) for prompts, _ in cases] == [expected for _, expected in cases]


@pytest.mark.timeout(60)
def test_words_of_a_million_letters_at_either_end() -> None:
    word = "x" * 1_000_000
    assert labels([f"{word} 1 {word}", f"{word} 2 {word}"]) == ["1", "2"]
    assert labels([f"{word}a {word}", f"{word}b {word}"]) == [f"{'x' * 120}…"] * 2


def test_numbers() -> None:
    assert [number(-1234.5), number(0.00012345), number(None)] == ["−1.23e+03", "0.000123", "–"]
    assert [percent(0.0475), percent(None)] == ["4.8 %", "–"]
