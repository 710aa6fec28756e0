"""Options of the loss terms, and the keys under which they and their rows reach the workers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from verl_nthr.integration.config.nodes import read_options
from verl_nthr.integration.config.numbers import is_number
from verl_nthr.text import quoted

POLICY_LOSS = "actor_rollout_ref.actor.policy_loss"

LOSS_TERMS = "nthr_loss_terms"
"""Key of the :class:`LossTerms` in the extra info of an actor's update; without it the loss is verl's own."""

PRESERVED = "nthr_preserved"
"""Column [B] bool: True if the response's base advantage is at least 0; False for padding rows."""

NORMALIZERS = ("preserved", "all")


@dataclass
class LossTerms:
    """Terms added to verl's policy loss; every field is a key below ``actor_rollout_ref.actor.policy_loss``.

    Raises:
        ValueError: a bad value, as ``name=value: use ...``.
    """

    positive_nll_coef: float = 0.0
    """μ, coefficient of the negative log-likelihood of correct responses; 0 for none, 0.1 in VAPO."""

    llds_coef: float = 0.0
    """λ, coefficient of LLDS; 0 for none, 0.1 in the paper."""

    llds_normalizer: str = "preserved"
    """Tokens of the mini-batch that LLDS is divided by: those of ``preserved`` responses, as in the paper's equation,
    or of ``all`` responses, as in the authors' code."""

    def __post_init__(self) -> None:
        for name in ("positive_nll_coef", "llds_coef"):
            value = getattr(self, name)
            if not is_number(value) or value < 0:
                raise ValueError(f"{name}={quoted(value)}: use a finite number, 0 for none, such as 0.1")
        if self.llds_normalizer not in NORMALIZERS:
            raise ValueError(f"llds_normalizer={quoted(self.llds_normalizer)}: use one of {', '.join(NORMALIZERS)}")

    @property
    def is_active(self) -> bool:
        """True if there is a term to add."""
        return self.positive_nll_coef > 0 or self.llds_coef > 0

    @classmethod
    def from_config(cls, policy_loss: Mapping[str, Any]) -> LossTerms:
        """Read verl's ``policy_loss`` node; options that it lacks have their defaults.

        Raises:
            NTHRConfigError: a bad value.
        """
        return read_options(
            cls, {name: policy_loss[name] for name in option_names() if name in policy_loss}, POLICY_LOSS
        )


def option_names() -> list[str]:
    """List the names of the options."""
    return [field.name for field in dataclasses.fields(LossTerms)]
