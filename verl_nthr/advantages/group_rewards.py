"""Rewards of a batch by prompt group, and statistics of each group: the input of every advantage rule.

Axes: R responses in the batch, G prompt groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class GroupRewards:
    """One row per response; the responses to one prompt form a group."""

    rewards: Tensor
    """[R] float32: the sum of each response's token-level rewards, as in verl's GRPO."""

    correct: Tensor
    """[R] bool."""

    group: Tensor
    """[R] int64, in 0 .. G-1."""

    mean_log_prob: Tensor
    """[R] float32, (1/|y|) ln π_old(y)."""

    lengths: Tensor
    """[R] int64: |y|, the number of response tokens."""

    @cached_property
    def num_groups(self) -> int:
        """G."""
        return int(self.group.max()) + 1 if self.group.numel() else 0

    @cached_property
    def sizes(self) -> Tensor:
        """Number of responses in each group: [G] int64."""
        return torch.bincount(self.group, minlength=self.num_groups)

    @cached_property
    def num_correct(self) -> Tensor:
        """Number of correct responses in each group, N⁺: [G] int64."""
        return torch.bincount(self.group[self.correct], minlength=self.num_groups)

    @property
    def mixed(self) -> Tensor:
        """Mask of mixed groups, which have both correct and wrong responses: [G] bool."""
        return (self.num_correct > 0) & (self.num_correct < self.sizes)

    def sums(self, values: Tensor) -> Tensor:
        """Sum of ``values`` [R] in each group: [G] float64."""
        return torch.bincount(self.group, weights=values.double(), minlength=self.num_groups)

    def means(self, values: Tensor) -> Tensor:
        """Mean of ``values`` [R] in each group: [G] float64."""
        return self.sums(values) / self.sizes

    def stds(self, values: Tensor) -> Tensor:
        """Standard deviation (ddof = 1) of ``values`` [R] in each group: [G] float64, 0 for a lone response."""
        squares = (values.double() - self.means(values)[self.group]).square()
        return (self.sums(squares) / (self.sizes - 1).clamp(min=1)).sqrt()

    def maxima(self, values: Tensor) -> Tensor:
        """Maximum of ``values`` [R] in each group: [G] float64."""
        lowest = torch.full((self.num_groups,), -torch.inf, dtype=torch.float64, device=values.device)
        return lowest.scatter_reduce_(0, self.group, values.double(), "amax")
