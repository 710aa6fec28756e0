"""The inputs of a token weighting."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class WeightingInputs:
    """A batch of responses; axis R runs over them, L over the tokens of the longest one.

    Attributes:
        advantage: [R, L] float32, the base advantage of every token.
        score: [R, L] float32, influence score s_t, nan where a token is not scored; all nan for a weighting that needs
            no scores.
        threshold: [R] float32, τ of the response's group, nan if the group is not mixed.
        correct: [R] bool.
        success_rate: [R] float32, p of the response's group, nan for padding rows.
        seed: of random choices.
    """

    advantage: Tensor
    score: Tensor
    threshold: Tensor
    correct: Tensor
    success_rate: Tensor
    seed: int = 0
