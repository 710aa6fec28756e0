"""Requests of the driver to the workers' old-log-prob pass, and the names under which the answers come back."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

REQUEST = "nthr_request"
"""Key of the :class:`ScoringRequest` in the batch's extra info; without it a pass is verl's own."""

RESPONSE = "nthr_response"
"""Column [B] int64: index of the row's response in the request, −1 if it takes no part."""

SCORE = "nthr_score"
"""Column [B, response length], jagged, float32: s_t, nan where not scored."""

ANCHOR = "nthr_anchor"
"""Column [B] float32: s̄⁺ of the row's response, nan where there is none."""

SECONDS = "nthr_seconds"
"""Column [B] float32: seconds that NTHR added to the pass on the rank that held the row."""

CORRECT = "nthr_correct"
"""Column [B] bool: whether the row's response is correct; False for padding rows."""


@dataclass(frozen=True)
class ScoringRequest:
    """The mixed groups of the whole batch and how to score them, the same on every rank.

    Attributes:
        group: [R] int64, group of each response, in 0 .. num_groups-1.
        correct: [R] bool.
        num_groups: number of mixed groups.
        vocabulary: coordinates of the prediction errors, "response" or "full".
        anchor_includes_self: whether s̄⁺ counts the influence of a correct response on itself.
        length_normalised: whether M⁺ takes every correct response by 1/|y|.
        feature_device: where hidden states wait for the end of the pass: "auto", "device" or "host".
    """

    group: Tensor
    correct: Tensor
    num_groups: int
    vocabulary: str = "response"
    anchor_includes_self: bool = True
    length_normalised: bool = False
    feature_device: str = "auto"
