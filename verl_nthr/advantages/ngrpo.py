"""NGRPO: a virtual response with the best reward calibrates the group (arXiv 2509.18851)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from verl_nthr.advantages.outcomes import Outcomes
from verl_nthr.advantages.rule import AdvantageRule, check_number

EPSILON = 1e-6


@dataclass(frozen=True)
class NGRPO(AdvantageRule):
    """A_i = (r_i − mean R′) / (std R′ + 1e-6) with R′ = R ∪ {r_max}, std with ddof = 1 over the G + 1 values.

    Groups that are all wrong get negative advantages; where all rewards are r_max, they are 0.
    The paper pairs it with an asymmetric clip (ε_neg = 0.16, ε_pos = 0.24).

    Raises:
        ValueError: on a call, a reward above ``max_reward``.
    """

    binary: ClassVar[bool] = False
    signal_of_all_wrong: ClassVar[bool] = True
    signal_of_all_correct: ClassVar[bool] = False

    max_reward: float = 1.0
    """r_max, the reward of the virtual response: the best that a response can get."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_reward", check_number("max_reward", self.max_reward, "a finite number"))

    def advantages(self, outcomes: Outcomes) -> Tensor:
        highest = torch.tensor(self.max_reward, dtype=outcomes.rewards.dtype, device=outcomes.rewards.device)
        if (outcomes.rewards > highest).any():
            raise ValueError(
                f"algorithm.nthr.ngrpo.max_reward={self.max_reward!r}, but a response has the reward "
                f"{outcomes.rewards.max().item():.6g}: set it to the best reward that a response can get"
            )
        rewards, group, sizes = outcomes.rewards.double(), outcomes.group, outcomes.sizes
        means = outcomes.means(rewards)
        calibrated_means = means + (highest - means) / (sizes + 1)
        # adding a value at distance d from the mean of n values adds d² · n / (n + 1) to the sum of squares
        squares = outcomes.stds(rewards).square() * (sizes - 1) + (highest - means).square() * sizes / (sizes + 1)
        return (rewards - calibrated_means[group]) / ((squares / sizes).sqrt() + EPSILON)[group]
