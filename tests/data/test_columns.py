"""Problems and answers as the sets write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from data.preparation import columns
from data.preparation.sets import MATH
from tests.data.rows import DAPO_PROMPT

READ: list[tuple[Callable[[Any], str], list[tuple[Any, str]]]] = [
    (
        columns.integer,
        [
            *[(27, "27"), (27.0, "27"), ("027", "27"), (r"$27^\circ$", "27"), (r"27^{\circ}", "27"), ("-1.0", "-1")],
            *[(value, "") for value in ("", None, "27.5", "1/2", "B", "27.05", "2 7", "9" * 5000)],
        ],
    ),
    (
        columns.boxed,
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
    ),
    (
        columns.after_hashes,
        [("a #### b\n#### 1,234", "1234"), ("#### -5 ", "-5"), ("1234", ""), ("####", ""), (None, "")],
    ),
    (
        columns.answer,
        [("$x$", "x"), (["$69$", "$84$"], "69, 84"), (r"\$5", r"\$5"), (0, "0"), ([], ""), (None, "")],
    ),
    (columns.ground_truth, [({"ground_truth": 34, "style": "rule"}, "34"), ({"style": "rule"}, ""), ("34", "")]),
    (
        columns.user_message,
        [([3, None, "x"], ""), ([{"role": "user"}], ""), ([{"role": "user", "content": None}, 3], "")],
    ),
]
"""By reader, values and what is read from them; an empty text stands for nothing."""


def test_what_is_read_from_a_value() -> None:
    wrong = [
        (reader.__name__, str(value)[:100], found)
        for reader, cases in READ
        for value, expected in cases
        if (found := reader(value)) != expected
    ]
    assert wrong == []


def test_the_instructions_of_dapo_are_taken_off() -> None:
    system, example = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 1 + 1?"}
    for problem in ("How many?", "Two\nlines", "Write Answer: 5."):
        chat = [system, example, {"role": "user", "content": DAPO_PROMPT.format(problem)}]
        assert columns.dapo_problem(chat) == problem
        assert columns.dapo_problem(problem) == problem
    assert columns.dapo_problem([system]) == ""


def test_half_a_surrogate_pair_becomes_the_sign_for_what_is_lost() -> None:
    assert columns.text("a\ud800b") == columns.answer(["a\udfffb"]) == "a\ufffdb"


def test_a_level_is_a_number_of_a_few_digits() -> None:
    levels = {"Level 3": 3, 5: 5, "Level " + "9" * 5000: None, 2**70: None}
    assert {level: MATH.read(0, {"problem": "x", "level": level}).level for level in levels} == levels
