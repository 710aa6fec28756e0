"""S-GRPO: GRPO weighted for noisy rewards (arXiv 2508.05928, github.com/shenpeijun0212/S-GRPO)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from verl_nthr.advantages.group_rewards import GroupRewards
from verl_nthr.advantages.rule import AdvantageRule, check_number

EPSILON = 1e-8


@dataclass(frozen=True)
class SGRPO(AdvantageRule):
    """A_i = w · (r_i − r̄) / (std r + 1e-8) with r_i = 1 for a correct response and 0 otherwise, std with ddof = 1.

    The verifier errs with probability q. The observed success rate r̄ gives an estimate t of the true one, and t gives
    the weight w ∈ [0, 1]:

        t = clip((r̄ − q) / (1 − 2q), 0, 1)
        w = (1 − 2q) · t(1 − t) / (√(r̄(1 − r̄) + 1e-8) · √(t(1 − t) + 1e-8))

    A group whose success rate can be explained by noise alone (r̄ ≤ q or r̄ ≥ 1 − q) gets 0.
    """

    binary: ClassVar[bool] = True
    learns_from_all_wrong: ClassVar[bool] = False
    learns_from_all_correct: ClassVar[bool] = False

    noise_rate: float = 0.1
    """q, the probability that a response is misjudged, in [0, 0.5); the official scripts use 0.1 for a 7B model and
    0.15 for smaller ones."""

    def __post_init__(self) -> None:
        rate = check_number("noise_rate", self.noise_rate, "a number in [0, 0.5)", at_least=0.0, below=0.5)
        object.__setattr__(self, "noise_rate", rate)

    def advantages(self, batch: GroupRewards) -> Tensor:
        rewards, group, q = batch.correct.double(), batch.group, self.noise_rate
        observed = batch.means(rewards)
        true = ((observed - q) / (1 - 2 * q)).clamp(0, 1)
        observed_variance, true_variance = observed * (1 - observed), true * (1 - true)
        scale = ((observed_variance + EPSILON) * (true_variance + EPSILON)).sqrt()
        weight = (1 - 2 * q) * true_variance / scale
        return (weight / (batch.stds(rewards) + EPSILON))[group] * (rewards - observed[group])
