"""LENS, likelihood estimation with negative samples: confident mistakes cost more (arXiv 2510.08696)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from verl_nthr.advantages.group_rewards import GroupRewards
from verl_nthr.advantages.rule import AdvantageRule, check_number

EPSILON = 1e-6


@dataclass(frozen=True)
class LENS(AdvantageRule):
    """GRPO on rewards that fall with the confidence in a wrong response (Section 5.1).

    With r_i = 1 for a correct response and 0 otherwise, and π̄_i = π_old(y_i)^(1/|y_i|):

        r̃_i = r_i − (1 − r_i) · (1/G) · π̄_i / (D − π̄_i)

        mixed group             A_i = (r̃_i − mean r̃) / (std r̃ + 1e-6), std with ddof = 1
                                D = max(D_imp, 2 · max_j π̄_j),  1/D_imp = (1/G) Σ_i r_i / π_old(y_i)      (Eq. 14)
        no correct response     A_i = α · (r̃_i − mean r̃)
                                D = 2 · max_j π̄_j
        no wrong response       A_i = 0

    D_imp uses the probability of the whole response, which is close to 0 for a long one; D is then 2 · max_j π̄_j in
    both cases.
    """

    binary: ClassVar[bool] = True
    learns_from_all_wrong: ClassVar[bool] = True
    learns_from_all_correct: ClassVar[bool] = False

    all_wrong_weight: float = 0.25
    """α, the weight of groups without a correct response."""

    def __post_init__(self) -> None:
        weight = check_number("all_wrong_weight", self.all_wrong_weight, "a finite number, at least 0", at_least=0.0)
        object.__setattr__(self, "all_wrong_weight", weight)

    def advantages(self, batch: GroupRewards) -> Tensor:
        group = batch.group
        rewards = self._rewards(batch)
        centred = rewards - batch.means(rewards)[group]
        normalised = centred / (batch.stds(rewards) + EPSILON)[group]
        # centred is 0 in a group without wrong responses
        return torch.where(batch.mixed[group], normalised, self.all_wrong_weight * centred)

    def _rewards(self, batch: GroupRewards) -> Tensor:
        """Lowered rewards r̃: [R] float64."""
        group, log_confidence = batch.group, batch.mean_log_prob.double()
        highest = batch.maxima(log_confidence)[group]
        # in units of the group's largest π̄, so that unlikely responses do not underflow to 0/0
        confidence = (log_confidence - highest).exp()
        inverse = (highest - batch.lengths * log_confidence).exp()
        importance = 1 / batch.means(inverse.masked_fill(~batch.correct, 0.0))
        difficulty = torch.where(batch.mixed, importance.clamp(min=2.0), 2.0)[group]
        penalty = confidence / (difficulty - confidence) / batch.sizes[group]
        return torch.where(batch.correct, 1.0, -penalty)
