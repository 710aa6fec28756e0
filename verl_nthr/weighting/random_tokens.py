"""The ablation of NTHR: the same number of tokens, drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from verl_nthr.influence.selection import draw_tokens
from verl_nthr.weighting.inputs import WeightingInputs
from verl_nthr.weighting.nthr import NTHR


@dataclass(frozen=True)
class RandomTokens(NTHR):
    """GRPO+Random of arXiv 2505.18830, §5.3: as NTHR, but |V_j⁻| tokens drawn at random from the same response."""

    def selected(self, inputs: WeightingInputs) -> Tensor:
        """As many of every response's tokens as NTHR selects."""
        candidates = self.candidates(inputs)
        response = torch.arange(len(candidates)).repeat_interleave(candidates.shape[1])
        generator = torch.Generator().manual_seed(inputs.seed)
        drawn = draw_tokens(super().selected(inputs).flatten(), candidates.flatten(), response, generator)
        return drawn.view_as(candidates)
