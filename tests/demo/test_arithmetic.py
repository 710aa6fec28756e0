"""The task: worked solutions, splits, final numbers, reward."""

from __future__ import annotations

import random
import re

import pytest

from tests.families import failures
from verl_nthr.demo.arithmetic import (
    FOUR_DIGITS,
    THREE_DIGITS,
    Addition,
    Task,
    draw_addition,
    draw_splits,
    final_number,
)
from verl_nthr.demo.reward import compute_score


def test_a_worked_solution_word_by_word() -> None:
    assert Addition(345, 678).prompt == "345+678=?"
    assert Addition(345, 678).worked_solution == "5+8+0=13\n4+7+1=12\n3+6+1=10\nso 1023"


@pytest.mark.parametrize(("task", "digits"), [(THREE_DIGITS, 3), (FOUR_DIGITS, 4)])
def test_worked_solutions_agree_with_python(task: Task, digits: int) -> None:
    rng = random.Random(3)
    for _ in range(500):
        addition = draw_addition(rng, task)
        assert len(str(addition.left)) == len(str(addition.right)) == digits
        *columns, last = addition.worked_solution.split("\n")
        assert last == f"so {addition.left + addition.right}"
        total, carried = 0, 0
        for place, column in enumerate(columns):
            expression, value = column.split("=")
            assert sum(map(int, expression.split("+"))) == int(value)
            assert int(expression.split("+")[2]) == carried
            carried = int(value) // 10
            total += int(value) % 10 * 10**place
        assert total + carried * 10 ** len(columns) == addition.left + addition.right
        assert [c.split("+")[0] for c in columns] == list(reversed(str(addition.left)))
        assert [re.split(r"\+", c)[1] for c in columns] == list(reversed(str(addition.right)))


def test_splits_have_no_addition_in_common_in_either_order() -> None:
    splits = draw_splits(THREE_DIGITS, seed=5, unseen=200, held_out=300, train=640)
    sets = [{frozenset((p.left, p.right)) for p in part} for part in (splits.unseen, splits.held_out, splits.train)]
    assert [len(part) for part in sets] == [200, 300, 640]
    assert len(set.union(*sets)) == 200 + 300 + 640


def test_splits_depend_on_the_seed_alone() -> None:
    assert draw_splits(THREE_DIGITS, 1, 10, 10, 10) == draw_splits(THREE_DIGITS, 1, 10, 10, 10)
    assert draw_splits(THREE_DIGITS, 1, 10, 10, 10) != draw_splits(THREE_DIGITS, 2, 10, 10, 10)


RESPONSES = [
    ("5+8+0=13\n4+7+1=12\n3+6+1=10\nso 1023", "1023"),
    ("so 1023", "1023"),
    ("so 1023\n", "1023"),
    ("so 12\nso 1023", "1023"),
    ("so 1023 apples", None),
    ("so 1023\nso", None),
    ("1023", None),
    ("so -1023", None),
    ("so 10 23", None),
    ("", None),
]


def test_final_number_and_reward() -> None:
    def check(case: tuple[str, str | None]) -> None:
        response, number = case
        assert final_number(response) == number
        reward = 1.0 if number == "1023" else 0.0
        assert compute_score("worked_addition", response, "1023", {"index": 0}) == {"score": reward, "acc": reward}

    assert failures(check, RESPONSES) == []


def test_the_final_number_decides_whatever_the_steps_before_it() -> None:
    assert compute_score("", "5+8+0=99\nso 1023", "1023")["score"] == 1.0
    assert compute_score("", "5+8+0=13\n4+7+1=12\n3+6+1=10\nso 1024", "1023")["score"] == 0.0
    assert compute_score("", "so 01023", "1023")["score"] == 0.0
