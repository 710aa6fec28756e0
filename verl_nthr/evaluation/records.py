"""The file of one model's responses to one benchmark: a line on what they were made with, then a line a question."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verl_nthr.errors import InputError
from verl_nthr.generation.jsonl import append_line, recover_lines
from verl_nthr.json_values import is_integer, is_number, is_string, list_of


@dataclass(frozen=True)
class Answer:
    """The responses to one question."""

    responses: list[str]
    """Text, without special tokens."""

    tokens: list[int]
    """Length of each response, with the end-of-sequence token."""

    rewards: list[float]
    """One a response."""


CHECKS = {"responses": list_of(is_string), "tokens": list_of(is_integer), "rewards": list_of(is_number)}


class Records:
    """Responses that are appended question by question, and survive a kill."""

    def __init__(self, path: Path, made_with: dict[str, Any]) -> None:
        """Read what is there.

        Args:
            path: of the file, which is not made yet.
            made_with: everything that the responses and rewards depend on.

        Raises:
            InputError: the file was made with something else, or is damaged.
        """
        self._path = path
        self._made_with = made_with
        self.answers: list[Answer] = []
        """Of the first questions of the benchmark, in their order."""
        lines = recover_lines(path)
        if not lines:
            return
        theirs = lines[0]
        differ = [f"{name}={theirs.get(name)!r}" for name, value in made_with.items() if theirs.get(name) != value]
        if differ:
            raise InputError(f"--out: {path} was made with {', '.join(differ)}; pass another --out, or remove it")
        for number, line in enumerate(lines[1:], start=2):
            right = line.keys() == CHECKS.keys() and all(check(line[name]) for name, check in CHECKS.items())
            if not right or len({0, *map(len, line.values())}) != 2:
                raise InputError(f"--out: {path} is damaged, its line {number} holds no responses; remove it")
            self.answers.append(Answer(**line))

    def append(self, answer: Answer) -> None:
        """Store the next question's."""
        if not self._path.is_file() or self._path.stat().st_size == 0:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            append_line(self._path, self._made_with)
        append_line(self._path, vars(answer))
        self.answers.append(answer)
