"""Prompt groups, and their results in a run."""

from __future__ import annotations

from pydantic import ConfigDict, model_validator

from verl_nthr.json_lines import Integer, Record


class Group(Record):
    """The responses to one prompt."""

    model_config = ConfigDict(extra="forbid")

    name: str
    """Names the prompt in the results."""

    prompt: list[Integer]
    """Token ids."""

    responses: list[list[Integer]]
    """Token ids, with the end-of-sequence token where the response ended by itself."""

    rewards: list[float]
    """One per response."""

    def correct(self, threshold: float) -> list[bool]:
        """True for each response whose reward reaches ``threshold``."""
        return [reward >= threshold for reward in self.rewards]

    def is_mixed(self, threshold: float) -> bool:
        """True if there are correct and wrong responses."""
        return len(set(self.correct(threshold))) == 2

    @model_validator(mode="after")
    def _has_a_reward_for_each_response(self) -> Group:
        if len(self.responses) != len(self.rewards):
            raise ValueError(f"'rewards' has {len(self.rewards)} entries for {len(self.responses)} responses")
        return self


class Variants(Record):
    """A number for each update of a group."""

    grpo: float
    pos_only: float
    random: float
    nthr: float
    exact: float | None = None
    """None without the true effect."""


class Effects(Record):
    """Comparison of NTHR's scores with the true effects, over the tokens of wrong responses."""

    method: str
    """Of the true effects: "forward mode" or "finite difference"."""

    nthr: float | None
    """Rank correlation with NTHR's score; None where it is not defined."""

    entropy: float | None
    """Rank correlation with the entropy."""

    neg_log_prob: float | None
    """Rank correlation with −ln π."""

    harmful_tokens: Integer
    """Tokens whose effect is above 0."""

    harmful_eased: Integer
    """Those of them that NTHR eases."""


class Result(Record):
    """The measurements on one mixed group."""

    name: str
    """The group's."""

    success_rate: float
    """Share of correct responses."""

    gwhes: float
    """Mean over the correct responses."""

    threshold: float | None
    """τ; None for −∞."""

    wrong_tokens: Integer
    """Tokens of wrong responses."""

    eased_tokens: Integer
    """Tokens that NTHR eases."""

    log_likelihood: float
    """Mean ln π(y⁺|x) before the update."""

    delta: Variants
    """Δ(x)."""

    weights_moved: Variants
    """Share of the weights that the update moved."""

    true_effect: Effects | None
    """None unless asked for."""
