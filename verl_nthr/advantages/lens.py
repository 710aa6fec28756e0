"""LENS: confident mistakes cost more, in groups without a correct response too (arXiv 2510.08696)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from verl_nthr.advantages.outcomes import Outcomes
from verl_nthr.advantages.rule import AdvantageRule, check_number

EPSILON = 1e-6


@dataclass(frozen=True)
class LENS(AdvantageRule):
    """GRPO on rewards that are lowered by the confidence of a mistake.

    With r_i = 1 for a correct response and 0 otherwise, π̄_i = π_old(y_i)^(1/|y_i|) and D = 2 · max_j π̄_j:

        r̃_i = r_i − (1 − r_i) · (1/G) · π̄_i / (D − π̄_i)
        A_i = (r̃_i − mean r̃) / (std r̃ + 1e-6)      mixed group, std with ddof = 1
        A_i = 0.25 · (r̃_i − mean r̃)                 no correct response
        A_i = 0                                      no incorrect response
    """

    binary: ClassVar[bool] = True
    signal_of_all_wrong: ClassVar[bool] = True
    signal_of_all_correct: ClassVar[bool] = False

    all_wrong_weight: float = 0.25
    """Factor of the advantages in groups without a correct response."""

    def __post_init__(self) -> None:
        weight = check_number("all_wrong_weight", self.all_wrong_weight, "a finite number, at least 0", at_least=0.0)
        object.__setattr__(self, "all_wrong_weight", weight)

    def advantages(self, outcomes: Outcomes) -> Tensor:
        group = outcomes.group
        log_confidence = outcomes.mean_log_prob.double()
        # π̄ / (2 max π̄ − π̄), free of underflow
        ratio = (log_confidence - outcomes.maxima(log_confidence)[group]).exp()
        penalty = ratio / (2 - ratio) / outcomes.sizes[group]
        rewards = torch.where(outcomes.correct, 1.0, -penalty)
        centred = rewards - outcomes.means(rewards)[group]
        normalised = centred / (outcomes.stds(rewards) + EPSILON)[group]
        calibrated = torch.where(outcomes.mixed[group], normalised, self.all_wrong_weight * centred)
        return torch.where((outcomes.mixed | outcomes.all_wrong)[group], calibrated, 0.0)
