"""A question with its sampled responses."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


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
        """As :meth:`from_json` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Rollout:
        """The inverse of :meth:`to_json`.

        Raises:
            ValueError: a field is missing, or the numbers of responses and rewards differ, or a reward is not finite.
        """
        try:
            rollout = cls(**entry)
        except TypeError as error:
            raise ValueError(str(error)) from error
        if len(rollout.responses) != len(rollout.rewards):
            raise ValueError(f"{len(rollout.responses)} responses but {len(rollout.rewards)} rewards")
        if not all(math.isfinite(reward) for reward in rollout.rewards):
            raise ValueError("a reward is not finite")
        return rollout
