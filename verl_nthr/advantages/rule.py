"""The interface of advantage rules."""

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
    """One advantage a response; the options of a rule are its fields, the keys below ``algorithm.nthr.<name>``.

    Calling a rule gives the advantages of the responses of a batch: [R] float32, exactly 0 where not :meth:`keeps`.

    Raises:
        ValueError: on construction, an option outside its range, as ``name=value: use ...``.
    """

    binary: ClassVar[bool]
    """Whether correctness alone decides, not the rewards."""

    compares_group: ClassVar[bool] = True
    """Whether an advantage depends on the other responses of the group."""

    signal_of_all_wrong: ClassVar[bool]
    """Whether a group without correct responses gets advantages other than 0."""

    signal_of_all_correct: ClassVar[bool]
    """Whether a group without incorrect responses gets advantages other than 0."""

    def __call__(self, batch: GroupRewards) -> Tensor:
        return torch.where(self.keeps(batch), self.advantages(batch), 0.0).float()

    @property
    def drops_rows(self) -> bool:
        """Whether the rule takes responses out of the loss."""
        return type(self).keeps is not AdvantageRule.keeps

    @abstractmethod
    def advantages(self, batch: GroupRewards) -> Tensor:
        """The rule's equation: [R], any floating dtype; whatever it gives for a dropped response does not count."""

    def keeps(self, batch: GroupRewards) -> Tensor:
        """Whether a response takes part in the loss: [R] bool."""
        return torch.ones_like(batch.correct)


def check_number(
    name: str, value: float, expected: str, *, at_least: float = -math.inf, below: float = math.inf
) -> float:
    """``value`` as a float if it is a finite number in [``at_least``, ``below``).

    Raises:
        ValueError: otherwise, as ``name=value: use <expected>``.
    """
    number = not isinstance(value, bool) and isinstance(value, int | float) and abs(value) <= sys.float_info.max
    if not number or not at_least <= value < below:
        raise ValueError(f"{name}={value!r}: use {expected}")
    return float(value)
