"""The ablation of NTHR: the same number of tokens, drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from verl_nthr.weighting.nthr import NTHR
from verl_nthr.weighting.responses import Responses


@dataclass(frozen=True)
class RandomTokens(NTHR):
    """GRPO+Random of arXiv 2505.18830, §5.3: as NTHR, but |V_j⁻| tokens drawn at random from the same response."""

    def selected(self, responses: Responses) -> Tensor:
        """As many of every response's tokens as NTHR selects."""
        candidates = self.candidates(responses)
        generator = torch.Generator().manual_seed(responses.seed)
        draw = torch.rand(candidates.shape, generator=generator).to(candidates.device)
        rank = draw.masked_fill(~candidates, 2.0).argsort(dim=1).argsort(dim=1)
        return rank < super().selected(responses).sum(1, keepdim=True)
