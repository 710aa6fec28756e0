"""What counts as the same problem."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.preparation.overlap import ngrams, normalise

TYPESET = st.lists(
    st.sampled_from(
        ["\\", "\\\\", "$", "~", " ", "\n", "{", "}", "(", "\\left", "\\frac", "\\dfrac", "a", "X", "ß", "2", "."]
    )
).map("".join)


@given(st.one_of(st.text(), TYPESET))
def test_normalising_twice_changes_nothing(problem: str) -> None:
    assert normalise(normalise(problem)) == normalise(problem)


@given(st.lists(st.sampled_from(["find", "x", "+", "-", "=", "2", "\\frac", "{", "}", "\\sqrt"]), min_size=1))
def test_space_case_and_delimiters_do_not_matter(tokens: list[str]) -> None:
    plain = normalise(" ".join(tokens))
    assert normalise("  \n".join(tokens).upper().replace("\\FRAC", "\\dfrac").replace("\\SQRT", "\\sqrt")) == plain
    assert normalise(f"${'~'.join(tokens)}$.") == plain
    assert normalise(rf"\[{' '.join(tokens)}\]") == plain


@given(st.text(alphabet="ab12+-*/=^<>", min_size=1), st.text(alphabet="ab12+-*/=^<>", min_size=1))
def test_no_sign_is_lost(one: str, other: str) -> None:
    assert (normalise(one) == normalise(other)) == (one == other)


def test_the_same_problem() -> None:
    for one, other in (
        (r"Compute $\left( \dfrac12 \right)$", r"compute \( ( \tfrac12 ) \)."),
        (r"Is $x \,= 1$?", "is $x=1$"),
        ("Ｆｉｎｄ ½", "find 1⁄2"),
    ):
        assert normalise(one) == normalise(other)


def test_different_problems() -> None:
    for one, other in (
        ("Compute $3+5$.", "Compute $3-5$."),
        ("Compute $12$.", "Compute $1 2$."),
        (r"It costs \$5.", "It costs 5."),
        (r"\leftarrow", "arrow"),
    ):
        assert normalise(one) != normalise(other)


def test_ngrams_by_hand() -> None:
    problem = "One $x_2$ [asy] draw the one line [/asy] or THREE?"
    assert ngrams(problem, 2) == {("one", "x"), ("x", "2"), ("2", "or"), ("or", "three")}
    assert ngrams(problem, 5) == {("one", "x", "2", "or", "three")}
    assert ngrams(problem, 6) == set()


@pytest.mark.timeout(60)
def test_figures_that_never_end_cost_no_more_than_their_length() -> None:
    assert len(ngrams("[asy] draw " * 100_000, 3)) == 2
