"""Problems and answers as the sets write them."""

from __future__ import annotations

from typing import Any

import pytest

from data.preparation import columns
from data.preparation.sets import MATH
from tests.data.rows import DAPO_PROMPT


@pytest.mark.parametrize(
    ("value", "expected"),
    [(27, "27"), (27.0, "27"), ("027", "27"), (r"$27^\circ$", "27"), (r"27^{\circ}", "27"), ("-1.0", "-1")],
)
def test_an_integer(value: Any, expected: str) -> None:
    assert columns.integer(value) == expected


@pytest.mark.parametrize("value", ["", None, "27.5", "1/2", "B", "27.05", "2 7", "9" * 5000])
def test_no_integer(value: Any) -> None:
    assert columns.integer(value) == ""


@pytest.mark.parametrize(
    ("solution", "expected"),
    [
        (r"First $\boxed{1}$, then $\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"So $\boxed 7$ it is.", "7"),
        (r"It costs $\boxed{\$5}$.", r"\$5"),
        (r"Nothing: $\boxed{}$.", ""),
        (r"Cut off: $\boxed{\frac{1", ""),
        (r"Framed: \fbox{7}", ""),
        ("No box.", ""),
        (None, ""),
    ],
)
def test_the_last_box(solution: str | None, expected: str) -> None:
    assert columns.boxed(solution) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("a #### b\n#### 1,234", "1234"), ("#### -5 ", "-5"), ("1234", ""), ("####", ""), (None, "")],
)
def test_after_hashes(value: str | None, expected: str) -> None:
    assert columns.after_hashes(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("$x$", "x"), (["$69$", "$84$"], "69, 84"), (r"\$5", r"\$5"), (0, "0"), ([], ""), (None, "")],
)
def test_a_final_answer(value: Any, expected: str) -> None:
    assert columns.answer(value) == expected


@pytest.mark.parametrize("problem", ["How many?", "Two\nlines", "Write Answer: 5."])
def test_the_instructions_of_dapo_are_taken_off(problem: str) -> None:
    system, example = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 1 + 1?"}
    chat = [system, example, {"role": "user", "content": DAPO_PROMPT.format(problem)}]
    assert columns.dapo_problem(chat) == problem
    assert columns.dapo_problem(problem) == problem
    assert columns.dapo_problem([system]) == ""


@pytest.mark.parametrize(
    ("value", "expected"), [({"ground_truth": 34, "style": "rule"}, "34"), ({"style": "rule"}, ""), ("34", "")]
)
def test_the_ground_truth(value: Any, expected: str) -> None:
    assert columns.ground_truth(value) == expected


def test_half_a_surrogate_pair_becomes_the_sign_for_what_is_lost() -> None:
    assert columns.text("a\ud800b") == columns.answer(["a\udfffb"]) == "a\ufffdb"


@pytest.mark.parametrize("messages", [[3, None, "x"], [{"role": "user"}], [{"role": "user", "content": None}, 3]])
def test_a_chat_without_a_message_of_the_user_has_no_problem(messages: list[Any]) -> None:
    assert columns.user_message(messages) == ""


@pytest.mark.parametrize(("level", "expected"), [("Level 3", 3), (5, 5), ("Level " + "9" * 5000, None), (2**70, None)])
def test_a_level_is_a_number_of_a_few_digits(level: Any, expected: int | None) -> None:
    assert MATH.read(0, {"problem": "x", "level": level}).level == expected
