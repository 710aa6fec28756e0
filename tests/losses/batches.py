"""A random ragged batch of log-probs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Log-probs [B, L], masks [B, L] with holes, and which rows are chosen [B]; a row is empty, none are equal."""

    log_probs: Tensor
    old_log_probs: Tensor
    mask: Tensor
    chosen: Tensor

    @property
    def num_tokens(self) -> int:
        """Tokens of chosen rows."""
        return sum(int(self.mask[i].sum()) for i in range(len(self.mask)) if self.chosen[i])


def make_batch(seed: int, rows: int = 8, length: int = 7) -> Batch:
    """Float64; about half of the chosen rows have become less likely, and each has tokens that have and have not."""
    rng = torch.Generator().manual_seed(seed)
    old = -3 * torch.rand(rows, length, generator=rng, dtype=torch.float64)
    change = 0.5 * torch.randn(rows, length, generator=rng, dtype=torch.float64)
    mask = torch.rand(rows, length, generator=rng) < 0.7
    mask[-1] = False
    chosen = torch.rand(rows, generator=rng) < 0.6
    chosen[-2:] = True
    return Batch(old + change, old, mask, chosen)
