"""What the trainer asks of the workers' old-log-prob pass, and the names under which the answers come back."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from verl_nthr.integration.config.options import NTHROptions

REQUEST = "nthr_request"
"""Key of the :class:`ScoringRequest` in the batch's extra info; without it a pass is verl's own."""

RESPONSE = "nthr_response"
"""Column [B] int64: index of the row's response in the request, −1 if it takes no part."""

SCORE = "nthr_score"
"""Column [B, response length], jagged, float32: s_t, nan where not scored."""

THRESHOLD = "nthr_threshold"
"""Column [B] float32: τ of the row's group, nan if it is not mixed."""

SECONDS = "nthr_seconds"
"""Column [B] float32: seconds that NTHR added to the pass on the rank that held the row."""


@dataclass(frozen=True)
class ScoringRequest:
    """The mixed groups of the whole batch, the same on every rank.

    Attributes:
        group: [R] int64, group of each response, in 0 .. num_groups-1.
        correct: [R] bool.
        num_groups: number of mixed groups.
        options: the run's options.
        length_normalised: whether M⁺ takes every correct response by 1/|y|.
    """

    group: Tensor
    correct: Tensor
    num_groups: int
    options: NTHROptions
    length_normalised: bool = False
