"""NGRPO: GRPO with a virtual response of the best reward in every group (arXiv 2509.18851)."""

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

    All-wrong groups get negative advantages; groups in which every reward is r_max get 0. For a lone response mean 0
    and std 1 are used, as in verl's GRPO and the official code (github.com/nangongrui-ngr/NGRPO,
    ``compute_ngrpo_outcome_advantage``).

    Raises:
        ValueError: a reward is above ``max_reward`` when the rule is called.
    """

    binary: ClassVar[bool] = False
    learns_from_all_wrong: ClassVar[bool] = True
    learns_from_all_correct: ClassVar[bool] = False

    max_reward: float = 1.0
    """r_max, the reward of the virtual response: the highest reward that your reward function gives."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_reward", check_number("max_reward", self.max_reward, "a finite number"))

    def advantages(self, batch: GroupRewards) -> Tensor:
        rewards, sizes, group = batch.rewards, batch.sizes, batch.group
        highest = rewards.new_tensor(self.max_reward)
        if (rewards > highest).any():
            raise ValueError(
                f"algorithm.ngrpo.max_reward={self.max_reward!r}, but a response has the reward "
                f"{rewards.max().item():.6g}: set it to the best reward that a response can get"
            )
        means = (batch.sums(rewards) + highest) / (sizes + 1)
        squares = batch.sums((rewards - means[group]).square()) + (highest - means).square()
        lone = sizes == 1
        means = means.masked_fill(lone, 0.0)
        stds = torch.where(lone, 1.0, (squares / sizes).sqrt())
        return (rewards - means[group]) / (stds + EPSILON)[group]
