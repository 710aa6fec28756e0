"""NTHR: ease the penalty of the tokens of wrong answers that the correct answers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from verl_nthr.influence.selection import check_eta, penalty_factor, select_tokens
from verl_nthr.weighting.inputs import WeightingInputs
from verl_nthr.weighting.rule import Weighting


@dataclass(frozen=True)
class NTHR(Weighting):
    """Algorithm 1 of arXiv 2505.18830: weight η where s_t > τ in a wrong response of a mixed group, else 1.

    Only penalties are eased. The paper's rewards are binary, so every wrong response of a mixed group has Â < 0; where
    rewards have more values, a wrong response with Â ≥ 0 keeps it.
    """

    effect: ClassVar[str] = "eased"
    is_scored: ClassVar[bool] = True

    eta: str | float = "balanced"
    """``balanced`` = 2·|0.5 − p|, ``p``, ``1-p``, or a number in [0, 1]."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "eta", check_eta(self.eta))

    def selected(self, inputs: WeightingInputs) -> Tensor:
        """V_j⁻ = {k' : s⁻_{j,k'} > τ} (Eq. 8), of tokens with Â < 0."""
        above = select_tokens(inputs.score, inputs.threshold[:, None], inputs.correct[:, None])
        return above & (inputs.advantage < 0)

    def candidates(self, inputs: WeightingInputs) -> Tensor:
        """Scored tokens of wrong responses with Â < 0."""
        return ~inputs.score.isnan() & ~inputs.correct[:, None] & (inputs.advantage < 0)

    def weights(self, inputs: WeightingInputs) -> Tensor:
        """η or 1."""
        eta = penalty_factor(self.eta, inputs.success_rate)[:, None]
        return torch.where(self.selected(inputs), eta, 1.0)
