"""W-REINFORCE: weighted REINFORCE, a mix of PSR and NSR (arXiv 2506.01347, github.com/TianHongZXY/RLVR-Decomposed)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from verl_nthr.advantages.group_rewards import GroupRewards
from verl_nthr.advantages.rule import AdvantageRule, check_number


@dataclass(frozen=True)
class WReinforce(AdvantageRule):
    """A_i = λ for a correct response, −1 for a wrong one."""

    binary: ClassVar[bool] = True
    compares_group: ClassVar[bool] = False
    learns_from_all_wrong: ClassVar[bool] = True
    learns_from_all_correct: ClassVar[bool] = True

    positive_weight: float = 0.1
    """λ; at 0 a correct response teaches nothing but, unlike in NSR, still counts in the mean of the loss."""

    def __post_init__(self) -> None:
        weight = check_number("positive_weight", self.positive_weight, "a finite number, at least 0", at_least=0.0)
        object.__setattr__(self, "positive_weight", weight)

    def advantages(self, batch: GroupRewards) -> Tensor:
        return torch.where(batch.correct, self.positive_weight, -1.0)
