"""Negative log-likelihood of correct responses: VAPO's positive-example loss (arXiv 2504.05118)."""

from __future__ import annotations

from torch import Tensor


def positive_nll(log_probs: Tensor, mask: Tensor, correct: Tensor, num_tokens: int, dp_size: int = 1) -> Tensor:
    """−(1/N⁺) Σ log π_θ over the N⁺ tokens of correct responses: a scalar, 0 if there are none.

    Args:
        log_probs: [B, L] float32, with gradients; ignored outside the mask.
        mask: [B, L] bool, response tokens.
        correct: [B] bool.
        num_tokens: N⁺, counted over the whole mini-batch.
        dp_size: number of data-parallel ranks.
    """
    chosen = mask & correct[:, None]
    return -log_probs.masked_fill(~chosen, 0.0).sum() * (dp_size / max(num_tokens, 1))
