"""A prompt with its sampled responses."""

from __future__ import annotations

from pathlib import Path

from pydantic import ConfigDict, model_validator

from verl_nthr.json_lines import Integer, Record, check_record, recover_lines


class Rollout(Record):
    """The group of responses to one prompt."""

    model_config = ConfigDict(extra="forbid")

    name: str
    """Names the prompt in the results."""

    prompt: list[Integer]
    """Token ids."""

    responses: list[list[Integer]]
    """Token ids, with the end-of-sequence token where the response ended by itself."""

    rewards: list[float]
    """One a response."""

    def correct(self, threshold: float) -> list[bool]:
        """True for each response whose reward reaches ``threshold``."""
        return [reward >= threshold for reward in self.rewards]

    def is_mixed(self, threshold: float) -> bool:
        """True if there are correct and wrong responses."""
        return len(set(self.correct(threshold))) == 2

    @model_validator(mode="after")
    def _has_a_reward_for_each_response(self) -> Rollout:
        if len(self.responses) != len(self.rewards):
            raise ValueError(f"'rewards' has {len(self.rewards)} entries for {len(self.responses)} responses")
        return self


def read_rollouts(path: Path) -> list[Rollout]:
    """The rollouts that a run has stored; what a kill left of an unfinished last line is cut off the file.

    Raises:
        InputError: the file is damaged; the message names the line.
    """
    fix = "the file is damaged, remove it"
    return [
        check_record(Rollout, entry, f"{path}:{number}", fix)
        for number, entry in enumerate(recover_lines(path), start=1)
    ]
