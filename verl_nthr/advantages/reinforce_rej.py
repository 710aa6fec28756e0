"""Reinforce-Rej: REINFORCE on mixed groups only (arXiv 2504.11343)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from verl_nthr.advantages.group_rewards import GroupRewards
from verl_nthr.advantages.rule import AdvantageRule


@dataclass(frozen=True)
class ReinforceRej(AdvantageRule):
    """A_i = +1 for a correct and −1 for a wrong response of a mixed group; all other groups are dropped.

    The official code (github.com/RLHFlow/Minimal-RL, ``compute_reinforce_rej_outcome_advantage``) gives the
    other groups advantages of 0 but counts their tokens in the mean of the loss; the paper, like this rule, drops them.
    """

    binary: ClassVar[bool] = True
    learns_from_all_wrong: ClassVar[bool] = False
    learns_from_all_correct: ClassVar[bool] = False

    def advantages(self, batch: GroupRewards) -> Tensor:
        return torch.where(batch.correct, 1.0, -1.0)

    def keeps(self, batch: GroupRewards) -> Tensor:
        return batch.mixed[batch.group]
