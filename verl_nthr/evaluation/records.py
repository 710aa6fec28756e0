"""The file of one model's responses to one benchmark: a line on what they were made with, then a line a prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ConfigDict, model_validator

from verl_nthr.errors import InputError
from verl_nthr.json_lines import Integer, Record, append_line, check_record, recover_lines

DAMAGED = "the file is damaged, remove it"


class Group(Record):
    """The responses to one prompt, of which there is at least one."""

    model_config = ConfigDict(extra="forbid")

    responses: list[str]
    """Text, without special tokens."""

    tokens: list[Integer]
    """Length of each response, with the end-of-sequence token."""

    rewards: list[float]
    """One a response."""

    @model_validator(mode="after")
    def _has_all_of_each_response(self) -> Group:
        if not len(self.responses) == len(self.tokens) == len(self.rewards) > 0:
            raise ValueError("as many 'tokens' and 'rewards' as 'responses' are wanted, at least one")
        return self


class Records:
    """Responses that are appended prompt by prompt, and survive a kill."""

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
        self.groups: list[Group] = []
        """Of the first prompts of the benchmark, in their order."""
        lines = recover_lines(path)
        if not lines:
            return
        theirs = lines[0]
        differ = [f"{name}={theirs.get(name)!r}" for name, value in made_with.items() if theirs.get(name) != value]
        if differ:
            raise InputError(f"--out: {path} was made with {', '.join(differ)}; pass another --out, or remove it")
        for number, line in enumerate(lines[1:], start=2):
            self.groups.append(check_record(Group, line, f"--out: {path}:{number}", DAMAGED))

    def append(self, group: Group) -> None:
        """Store the next prompt's."""
        if not self._path.is_file() or self._path.stat().st_size == 0:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            append_line(self._path, self._made_with)
        append_line(self._path, group.model_dump())
        self.groups.append(group)
