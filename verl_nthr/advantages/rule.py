"""Interface of the advantage rules."""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from verl_nthr.advantages.group_rewards import GroupRewards


@dataclass(frozen=True)
class AdvantageRule(ABC):
    """One advantage per response. A rule's fields are its options: the keys of ``algorithm.<name>``.

    Calling a rule returns the advantages of a batch: [R] float32, exactly 0 for the responses that it drops.

    Raises:
        ValueError: an option is outside its range when the rule is made.
    """

    binary: ClassVar[bool]
    """True if the rule reads only whether a response is correct, not its reward."""

    compares_group: ClassVar[bool] = True
    """True if an advantage depends on the other responses of the group."""

    learns_from_all_wrong: ClassVar[bool]
    """True if an all-wrong group gets advantages other than 0."""

    learns_from_all_correct: ClassVar[bool]
    """True if an all-correct group gets advantages other than 0."""

    def __call__(self, batch: GroupRewards) -> Tensor:
        return torch.where(self.keeps(batch), self.advantages(batch), 0.0).float()

    @property
    def drops_rows(self) -> bool:
        """True if the rule removes responses from the loss."""
        return type(self).keeps is not AdvantageRule.keeps

    @abstractmethod
    def advantages(self, batch: GroupRewards) -> Tensor:
        """Evaluate the rule's equation: [R], any floating dtype. Values of dropped responses are ignored."""

    def keeps(self, batch: GroupRewards) -> Tensor:
        """Mask of the responses that stay in the loss: [R] bool."""
        return torch.ones_like(batch.correct)


def check_number(
    name: str, value: float, expected: str, *, at_least: float = -math.inf, below: float = math.inf
) -> float:
    """Return ``value`` as a float.

    Raises:
        ValueError: it is not a finite number in [``at_least``, ``below``); the message says to use ``expected``.
    """
    number = not isinstance(value, bool) and isinstance(value, int | float) and abs(value) <= sys.float_info.max
    if not number or not at_least <= value < below:
        raise ValueError(f"{name}={value!r}: use {expected}")
    return float(value)
