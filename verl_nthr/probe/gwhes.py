"""GWHES (arXiv 2505.18830, Eq. 5): how far negative gradients are expected to displace the correct responses."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from verl_nthr.influence import nthr_weights


def gwhes(
    hidden: Tensor,
    token_ids: Tensor,
    log_probs: Tensor | None,
    response: Tensor,
    correct: Tensor,
    unembedding: Tensor,
    **options: Any,
) -> Tensor:
    """GWHES of every correct response of one mixed group: [R] float32, nan for wrong ones.

        GWHES_i = p⁻ Σ_k Σ_j Σ_k' α⁻ ⟨h_{i,k}, h_{j,k'}⟩ − p⁺ Σ_k Σ_i' Σ_k'' α⁺ ⟨h_{i,k}, h_{i',k''}⟩

    with p⁺ = (1−p)/√(p(1−p)) and p⁻ = p/√(p(1−p)) (Lemma 4.2). The inner sums are the influence of all correct (all
    wrong) responses on token k of response i, which is what NTHR's scores are, with the roles swapped for α⁻.

    Args:
        hidden, token_ids, log_probs, response, unembedding: as for :func:`verl_nthr.nthr_weights`.
        correct: [R] bool, both values present.
        **options: ``bias``, ``temperature`` and ``vocabulary`` of :func:`verl_nthr.nthr_weights`.
    """
    group = torch.zeros_like(correct, dtype=torch.int64)
    p = float(correct.double().mean())
    deviation = math.sqrt(p * (1 - p))
    sums = []
    for sources in (~correct, correct):
        result = nthr_weights(hidden, token_ids, log_probs, response, group, sources, unembedding, **options)
        scores_of_response = result.scores.new_zeros(correct.shape[0])
        sums.append(scores_of_response.index_add_(0, response, result.scores))
    of_wrong, of_correct = sums
    values = (p * of_wrong - (1 - p) * of_correct) / deviation
    return values.masked_fill(~correct, torch.nan)
