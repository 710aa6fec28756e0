"""The demo's tasks: additions of two numbers, worked digit by digit."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

FINAL_NUMBER = re.compile(r"so (\d+)\s*\Z")


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
class Addition:
    """One addition."""

    left: int
    right: int

    @property
    def prompt(self) -> str:
        """As the user writes it."""
        return f"{self.left}+{self.right}=?"

    @property
    def total(self) -> str:
        """The sum, with which a correct response ends."""
        return str(self.left + self.right)

    @property
    def worked_solution(self) -> str:
        """One line a column from the right, ``digit+digit+carry=sum``, then ``so`` and the sum."""
        lines, carry = [], 0
        for left, right in zip(reversed(str(self.left)), reversed(str(self.right)), strict=True):
            column = int(left) + int(right) + carry
            lines.append(f"{left}+{right}+{carry}={column}")
            carry = column // 10
        return "\n".join([*lines, f"so {self.total}"])

    @property
    def unordered(self) -> tuple[int, int]:
        """The same for ``a+b`` and ``b+a``."""
        return min(self.left, self.right), max(self.left, self.right)


@dataclass(frozen=True)
class Splits:
    """Additions of one task that have no addition in common, also not with the operands swapped."""

    task: Task
    """Source of the additions."""

    unseen: list[Addition]
    """For the accuracy before and after; never trained on."""

    held_out: list[Addition]
    """Tells the warm-up when to stop."""

    train: list[Addition]
    """Prompts of the reinforcement learning."""


def draw_addition(rng: random.Random, task: Task) -> Addition:
    """A random addition."""
    smallest, largest = 10 ** (task.digits - 1), 10**task.digits - 1
    return Addition(rng.randint(smallest, largest), rng.randint(smallest, largest))


def draw_additions(rng: random.Random, task: Task, count: int, excluded: set[tuple[int, int]]) -> list[Addition]:
    """``count`` random additions whose unordered operands are not ``excluded``; they may repeat."""
    additions: list[Addition] = []
    while len(additions) < count:
        addition = draw_addition(rng, task)
        if addition.unordered not in excluded:
            additions.append(addition)
    return additions


def draw_splits(task: Task, seed: int, unseen: int, held_out: int, train: int) -> Splits:
    """Draw the three sets, of the given sizes; the same for the same seed."""
    rng = random.Random(seed)
    taken: set[tuple[int, int]] = set()
    additions: list[Addition] = []
    while len(additions) < unseen + held_out + train:
        addition = draw_addition(rng, task)
        if addition.unordered not in taken:
            taken.add(addition.unordered)
            additions.append(addition)
    return Splits(task, additions[:unseen], additions[unseen : unseen + held_out], additions[unseen + held_out :])


def final_number(response: str) -> str | None:
    """The number after the last ``so``, with which a response has to end; None if it does not."""
    found = FINAL_NUMBER.search(response)
    return found.group(1) if found else None
