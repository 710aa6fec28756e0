"""Lazy likelihood-displacement stabilisation, LLDS (arXiv 2512.04220), with its response-level gate.

The sum and the gate are those of the authors' code (github.com/vengdeng/LLDS-On-Group-Relative-Policy-Optimization-
Collapse-in-Search-R1, ``verl/workers/actor/dp_actor.py``). It divides the sum by all response tokens of a micro-batch,
the paper by the tokens of the preserved responses: ``num_tokens`` is either, of the mini-batch. Where no token has
moved the code's ``maximum`` passes on half a gradient, this one none. Its other gate, for each turn of a conversation,
is not implemented; for answers of one turn it is the same.
"""

from __future__ import annotations

from torch import Tensor


def llds(
    log_probs: Tensor, old_log_probs: Tensor, mask: Tensor, preserved: Tensor, num_tokens: int, dp_size: int = 1
) -> tuple[Tensor, Tensor]:
    """(1/N) Σ_{y preserved} 1[Σ_k Δ_k > 0] Σ_k max(0, Δ_k) with Δ = ln π_old − ln π_θ.

    Without an update between π_old and π_θ, Δ is rounding alone; the term is then next to 0, but the gradient of a
    token, −1/N or 0, depends on no more than signs.

    Args:
        log_probs: [B, L] float32, with gradients; what is outside the mask is not read.
        old_log_probs: [B, L] float32; what is outside the mask is not read.
        mask: [B, L] bool, response tokens.
        preserved: [B] bool, responses whose base advantage is at least 0.
        num_tokens: N, of the whole mini-batch.
        dp_size: number of data-parallel ranks.

    Returns:
        The term, a scalar, and the open gates, [B] bool: preserved responses that have become less likely.
    """
    chosen = mask & preserved[:, None]
    drop = (old_log_probs - log_probs).masked_fill(~chosen, 0.0)
    is_open = drop.detach().sum(dim=1) > 0
    return drop.relu().masked_fill(~is_open[:, None], 0.0).sum() * (dp_size / max(num_tokens, 1)), is_open
