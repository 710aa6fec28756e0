"""Lazy likelihood-displacement stabilisation, LLDS (arXiv 2512.04220), with its response-level gate.

Sum and gate follow the authors' code (github.com/vengdeng/LLDS-On-Group-Relative-Policy-Optimization-Collapse-in-
Search-R1, ``verl/workers/actor/dp_actor.py``), with three differences:

- The code divides by all response tokens of a micro-batch, the paper by the tokens of the preserved responses. Here
  ``num_tokens`` is either of the two, counted over the mini-batch.
- For a token that has not moved, the code's ``maximum`` passes on half a gradient; here the gradient is 0.
- The code's gate per turn of a conversation is not implemented. With a single turn it is the same.
"""

from __future__ import annotations

from torch import Tensor


def llds(
    log_probs: Tensor, old_log_probs: Tensor, mask: Tensor, preserved: Tensor, num_tokens: int, dp_size: int = 1
) -> tuple[Tensor, Tensor]:
    """(1/N) Σ_{y preserved} 1[Σ_k Δ_k > 0] Σ_k max(0, Δ_k) with Δ = ln π_old − ln π_θ.

    Before the first update Δ is rounding noise. The term is then close to 0, but the gradient of a token is −1/N or 0
    depending only on the sign of that noise.

    Args:
        log_probs: [B, L] float32, with gradients; ignored outside the mask.
        old_log_probs: [B, L] float32; ignored outside the mask.
        mask: [B, L] bool, response tokens.
        preserved: [B] bool, responses whose base advantage is at least 0.
        num_tokens: N, counted over the whole mini-batch.
        dp_size: number of data-parallel ranks.

    Returns:
        The term (a scalar), and the open gates ([B] bool): preserved responses that have become less likely.
    """
    chosen = mask & preserved[:, None]
    drop = (old_log_probs - log_probs).masked_fill(~chosen, 0.0)
    is_open = drop.detach().sum(dim=1) > 0
    return drop.relu().masked_fill(~is_open[:, None], 0.0).sum() * (dp_size / max(num_tokens, 1)), is_open
