"""The demo's tasks: additions of two numbers, worked digit by digit."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

ANSWER = re.compile(r"so (\d+)\s*\Z")


@dataclass(frozen=True)
class Task:
    """Additions of numbers of one length, and how far the warm-up goes."""

    digits: int
    """Of both operands."""

    accuracy_band: tuple[float, float]
    """Greedy accuracy at which the warm-up may stop: lowest and highest."""

    max_response_tokens: int
    """Room for the longest worked solution, a character a token, and some more."""


THREE_DIGITS = Task(digits=3, accuracy_band=(0.38, 0.52), max_response_tokens=40)
FOUR_DIGITS = Task(digits=4, accuracy_band=(0.10, 0.20), max_response_tokens=52)


@dataclass(frozen=True)
class Problem:
    """One addition."""

    left: int
    right: int

    @property
    def question(self) -> str:
        """What the user asks."""
        return f"{self.left}+{self.right}=?"

    @property
    def answer(self) -> str:
        """The sum, as a correct response ends."""
        return str(self.left + self.right)

    @property
    def worked_solution(self) -> str:
        """One line a column from the right, ``digit+digit+carry=sum``, then ``so`` and the answer."""
        lines, carry = [], 0
        for left, right in zip(reversed(str(self.left)), reversed(str(self.right)), strict=True):
            column = int(left) + int(right) + carry
            lines.append(f"{left}+{right}+{carry}={column}")
            carry = column // 10
        return "\n".join([*lines, f"so {self.answer}"])

    @property
    def unordered(self) -> tuple[int, int]:
        """The same for ``a+b`` and ``b+a``."""
        return min(self.left, self.right), max(self.left, self.right)


@dataclass(frozen=True)
class Splits:
    """Problems of one task that have no addition in common, also not with the operands swapped."""

    task: Task
    """What they were drawn from."""

    unseen: list[Problem]
    """For the accuracy before and after; never trained on."""

    held_out: list[Problem]
    """Tells the warm-up when to stop."""

    train: list[Problem]
    """Prompts of the reinforcement learning."""


def draw_problem(rng: random.Random, task: Task) -> Problem:
    """A random problem."""
    smallest, largest = 10 ** (task.digits - 1), 10**task.digits - 1
    return Problem(rng.randint(smallest, largest), rng.randint(smallest, largest))


def draw_problems(rng: random.Random, task: Task, count: int, excluded: set[tuple[int, int]]) -> list[Problem]:
    """``count`` random problems whose unordered operands are not ``excluded``; they may repeat."""
    problems: list[Problem] = []
    while len(problems) < count:
        problem = draw_problem(rng, task)
        if problem.unordered not in excluded:
            problems.append(problem)
    return problems


def draw_splits(task: Task, seed: int, unseen: int, held_out: int, train: int) -> Splits:
    """Draw the three sets, of the given sizes; the same for the same seed."""
    rng = random.Random(seed)
    taken: set[tuple[int, int]] = set()
    problems: list[Problem] = []
    while len(problems) < unseen + held_out + train:
        problem = draw_problem(rng, task)
        if problem.unordered not in taken:
            taken.add(problem.unordered)
            problems.append(problem)
    return Splits(task, problems[:unseen], problems[unseen : unseen + held_out], problems[unseen + held_out :])


def final_answer(response: str) -> str | None:
    """The number after the last ``so``, with which a response has to end; None if it does not."""
    found = ANSWER.search(response)
    return found.group(1) if found else None
