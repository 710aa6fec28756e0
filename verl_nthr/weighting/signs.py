"""One sign of the advantage alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from verl_nthr.weighting.responses import Responses
from verl_nthr.weighting.rule import Weighting


@dataclass(frozen=True)
class Positive(Weighting):
    """Pos-Only of arXiv 2505.18830, §3: Â ← max(Â, 0)."""

    def selected(self, responses: Responses) -> Tensor:
        """Tokens whose advantage is taken away."""
        return responses.advantage < 0

    def candidates(self, responses: Responses) -> Tensor:
        """Tokens with an advantage."""
        return responses.advantage != 0

    def weights(self, responses: Responses) -> Tensor:
        """0 where the advantage is taken away, else 1."""
        return torch.where(self.selected(responses), 0.0, 1.0)


@dataclass(frozen=True)
class Negative(Positive):
    """GRPO-N of arXiv 2510.04028: Â ← min(Â, 0), after normalisation (read from the text; no official code known)."""

    def selected(self, responses: Responses) -> Tensor:
        """Tokens whose advantage is taken away."""
        return responses.advantage > 0
