"""NGRPO: a virtual response with the best reward calibrates the group (arXiv 2509.18851)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from verl_nthr.advantages.group_rewards import GroupRewards
from verl_nthr.advantages.rule import AdvantageRule, check_number

EPSILON = 1e-6


@dataclass(frozen=True)
class NGRPO(AdvantageRule):
    """A_i = (r_i − mean R′) / (std R′ + 1e-6) with R′ = R ∪ {r_max}, std with ddof = 1 over the G + 1 values.

    Groups that are all wrong get negative advantages; where every reward is r_max, they are 0. A lone response has
    mean 0 and std 1 instead, as in verl's GRPO and in the official code
    (github.com/nangongrui-ngr/NGRPO, ``compute_ngrpo_outcome_advantage``).

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

    def advantages(self, batch: GroupRewards) -> Tensor:
        rewards, sizes, group = batch.rewards, batch.sizes, batch.group
        highest = rewards.new_tensor(self.max_reward)
        if (rewards > highest).any():
            raise ValueError(
                f"algorithm.nthr.ngrpo.max_reward={self.max_reward!r}, but a response has the reward "
                f"{rewards.max().item():.6g}: set it to the best reward that a response can get"
            )
        means = (batch.sums(rewards) + highest) / (sizes + 1)
        squares = batch.sums((rewards - means[group]).square()) + (highest - means).square()
        lone = sizes == 1
        means = means.masked_fill(lone, 0.0)
        stds = torch.where(lone, 1.0, (squares / sizes).sqrt())
        return (rewards - means[group]) / (stds + EPSILON)[group]
