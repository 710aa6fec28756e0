"""NTHR: ease the penalty of the tokens of wrong answers that the correct answers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from verl_nthr.influence.selection import check_eta, penalty_factor
from verl_nthr.weighting.responses import Responses
from verl_nthr.weighting.rule import Weighting


@dataclass(frozen=True)
class NTHR(Weighting):
    """Algorithm 1 of arXiv 2505.18830: weight η where s_t > τ in a wrong response of a mixed group, else 1."""

    is_scored: ClassVar[bool] = True

    eta: str | float = "balanced"
    """``balanced`` = 2·|0.5 − p|, ``p``, ``1-p``, or a number in [0, 1]."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "eta", check_eta(self.eta))

    def selected(self, responses: Responses) -> Tensor:
        """V_j⁻ = {k' : s⁻_{j,k'} > τ} (Eq. 8)."""
        return (responses.score > responses.threshold[:, None]) & self.candidates(responses)

    def candidates(self, responses: Responses) -> Tensor:
        """Scored tokens of wrong responses."""
        return ~responses.score.isnan() & ~responses.correct[:, None]

    def weights(self, responses: Responses) -> Tensor:
        """η or 1."""
        eta = penalty_factor(self.eta, responses.success_rate)[:, None]
        return torch.where(self.selected(responses), eta, 1.0)
