"""The worked example of docs/concepts.md, and its numbers on the page."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import draw_concepts
from concepts.example import LEARNING_RATE, make_example
from concepts.figures import FIGURES
from tests.docs.pages import DOCS, read

PAGE = read("concepts.md")


def test_the_pages_numbers_are_the_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, "argv", ["draw_concepts.py", "--out", str(tmp_path)])
    assert draw_concepts.main() == 0
    rows = capsys.readouterr().out.strip()
    assert rows in PAGE
    assert {path.name for path in tmp_path.iterdir()} == set(FIGURES)
    for name in FIGURES:
        assert f"(images/{name})" in PAGE
        assert (DOCS / "images" / name).is_file()


def test_the_scores_are_the_papers_double_sum() -> None:
    example = make_example()
    errors = torch.softmax(example.hidden @ example.unembedding.T, dim=1).neg()
    errors[torch.arange(len(example.words)), example.token_ids] += 1
    right = example.correct[example.response]
    pairs = (errors @ errors[right].T) * (example.hidden @ example.hidden[right].T)
    torch.testing.assert_close(example.decision.scores.double(), pairs.sum(1), rtol=1e-5, atol=1e-5)


def test_a_score_is_what_a_tokens_update_does_to_the_right_answer() -> None:
    example = make_example()
    for advantages in example.advantages().values():
        first_order = LEARNING_RATE * float((advantages * example.decision.scores).sum())
        assert example.change(advantages) == pytest.approx(first_order, rel=0.02)
