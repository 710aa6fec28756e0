"""One sign of the advantage alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from verl_nthr.weighting.inputs import WeightingInputs
from verl_nthr.weighting.rule import Weighting


@dataclass(frozen=True)
class Positive(Weighting):
    """Pos-Only of arXiv 2505.18830, §3: Â ← max(Â, 0)."""

    effect: ClassVar[str] = "zeroed"

    def selected(self, inputs: WeightingInputs) -> Tensor:
        """Tokens whose advantage is taken away."""
        return inputs.advantage < 0

    def candidates(self, inputs: WeightingInputs) -> Tensor:
        """Tokens with an advantage."""
        return inputs.advantage != 0

    def weights(self, inputs: WeightingInputs) -> Tensor:
        """0 where the advantage is taken away, else 1."""
        return torch.where(self.selected(inputs), 0.0, 1.0)


@dataclass(frozen=True)
class Negative(Positive):
    """GRPO-N of arXiv 2510.04028: Â ← min(Â, 0), after normalisation (read from the text; no official code known)."""

    def selected(self, inputs: WeightingInputs) -> Tensor:
        """Tokens whose advantage is taken away."""
        return inputs.advantage > 0
