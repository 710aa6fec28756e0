"""NSR: negative sample reinforcement (arXiv 2506.01347, github.com/TianHongZXY/RLVR-Decomposed)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from verl_nthr.advantages.group_rewards import GroupRewards
from verl_nthr.advantages.rule import AdvantageRule


@dataclass(frozen=True)
class NSR(AdvantageRule):
    """A_i = −1 for a wrong response; correct ones are dropped."""

    binary: ClassVar[bool] = True
    compares_group: ClassVar[bool] = False
    learns_from_all_wrong: ClassVar[bool] = True
    learns_from_all_correct: ClassVar[bool] = False

    def advantages(self, batch: GroupRewards) -> Tensor:
        return -torch.ones_like(batch.rewards)

    def keeps(self, batch: GroupRewards) -> Tensor:
        return ~batch.correct
