"""THR: keep the tokens of both kinds of answers that matter to the correct ones, and lean to one sign of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from verl_nthr.influence.thr import check_rho, thr_token_weights
from verl_nthr.weighting.inputs import WeightingInputs
from verl_nthr.weighting.rule import Weighting


@dataclass(frozen=True)
class THR(Weighting):
    """arXiv 2510.03669: weight 1[|THR| > τ] · (1 + sign(THR)·ρ) with THR = (2r − 1)·s_t."""

    effect: ClassVar[str] = "kept"
    is_scored: ClassVar[bool] = True
    length_normalised: ClassVar[bool] = True

    rho: float = 0.1
    """ρ in (−1, 1): above 0 favours greedy accuracy, below 0 Pass@K; 0 leaves the kept tokens as they are."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rho", check_rho(self.rho))

    def selected(self, inputs: WeightingInputs) -> Tensor:
        """Dominant tokens: |THR| > max(τ, 0)."""
        return inputs.score.abs() > inputs.threshold.clamp(min=0.0)[:, None]

    def candidates(self, inputs: WeightingInputs) -> Tensor:
        """All scored tokens."""
        return ~inputs.score.isnan()

    def weights(self, inputs: WeightingInputs) -> Tensor:
        """0 for tokens that are not dominant, else 1 ± ρ."""
        return thr_token_weights(inputs.score, inputs.correct[:, None], inputs.threshold[:, None], self.rho)
