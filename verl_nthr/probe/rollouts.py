"""A question with its sampled responses."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from verl_nthr.errors import InputError
from verl_nthr.generation.jsonl import recover_lines
from verl_nthr.json_values import is_integer, is_number, is_string, list_of


@dataclass(frozen=True)
class Rollout:
    """The group of responses to one prompt."""

    question: str
    """Names the question in the results."""

    prompt: list[int]
    """Token ids."""

    responses: list[list[int]]
    """Token ids, with the end-of-sequence token where the response ended by itself."""

    rewards: list[float]
    """One a response."""

    def correct(self, threshold: float) -> list[bool]:
        """Whether each reward reaches ``threshold``."""
        return [reward >= threshold for reward in self.rewards]

    def is_mixed(self, threshold: float) -> bool:
        """Whether there are correct and incorrect responses."""
        return len(set(self.correct(threshold))) == 2

    def to_json(self) -> dict[str, Any]:
        """As :func:`read_rollouts` reads it."""
        return asdict(self)


CHECKS = {
    "question": (is_string, "a string"),
    "prompt": (list_of(is_integer), "a list of integers"),
    "responses": (list_of(list_of(is_integer)), "a list of lists of integers"),
    "rewards": (list_of(is_number), "a list of finite numbers"),
}


def read_rollouts(path: Path) -> list[Rollout]:
    """The rollouts that a run has stored; what a kill left of an unfinished last line is cut off the file.

    Raises:
        InputError: the file is damaged; the message names the line.
    """
    return [_rollout(entry, f"{path}, entry {number}") for number, entry in enumerate(recover_lines(path), start=1)]


def _rollout(entry: dict[str, Any], where: str) -> Rollout:
    for name, (right, wanted) in CHECKS.items():
        if not right(entry.get(name)):
            raise InputError(f"{where}: {name!r} has to be {wanted}; the file is damaged, remove it")
    if entry.keys() != CHECKS.keys() or len(entry["responses"]) != len(entry["rewards"]):
        raise InputError(f"{where}: other fields, or not a reward for each response; the file is damaged, remove it")
    return Rollout(**entry)
