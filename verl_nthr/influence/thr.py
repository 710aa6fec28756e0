"""Token hidden reward (arXiv 2510.03669): which tokens dominate, and how much each of them counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from verl_nthr.influence.batch import batch_influence
from verl_nthr.influence.selection import check_beta


@dataclass(frozen=True)
class THRResult:
    """Scores and weights of THR for a batch.

    Attributes:
        scores: [T] float32, THR_t, for tokens of correct and of incorrect responses; nan in groups that are not finite,
            0 for tokens of padding rows.
        anchors: [R] float32, s̄⁺ of correct responses; nan for incorrect ones, for those without tokens, and in groups
            that are not finite.
        threshold: [groups] float32, τ = β · min s̄⁺, nan for a group without anchors; below 0 it acts as 0.
        success_rate: [groups] float32, p = N⁺/G, nan for a group without responses.
        weight: [T] float32, the factor of the token's advantage: 0 where |THR_t| ≤ τ, else 1 ± ρ; 1 outside of mixed
            groups, and in groups that are not finite.
        finite: [groups] bool, whether all that the scores of a group come from, and they themselves, are finite.
    """

    scores: Tensor
    anchors: Tensor
    threshold: Tensor
    success_rate: Tensor
    weight: Tensor
    finite: Tensor


def check_rho(rho: float) -> float:
    """``rho`` as a float if it is a number between −1 and 1.

    Raises:
        ValueError: otherwise.
    """
    if isinstance(rho, bool) or not isinstance(rho, int | float) or not -1.0 < rho < 1.0:
        raise ValueError(f"rho={rho!r}: use a number between -1 and 1, so that no advantage changes its sign")
    return float(rho)


def token_hidden_rewards(scores: Tensor, correct: Tensor) -> Tensor:
    """THR_t = (2r_t − 1) · s_t: [T] from the scores [T] and the outcomes [T] bool of the tokens' responses."""
    return torch.where(correct, scores, -scores)


def thr_token_weights(scores: Tensor, correct: Tensor, threshold: Tensor, rho: float) -> Tensor:
    """1[|THR_t| > max(τ, 0)] · (1 + sign(THR_t) · ρ) with THR_t = (2r_t − 1) · s_t: [T] float32.

    Args:
        scores: [T] float32, s_t; nan for a token without a score, whose weight is 1.
        correct: [T] bool, r_t, of the token's response.
        threshold: [T] float32, τ of the token's group; nan for a group without one, whose weights are 1.
        rho: ρ.
    """
    rewards = token_hidden_rewards(scores, correct)
    weight = (rewards.abs() > threshold.clamp_min(0.0)) * (1.0 + check_rho(rho) * rewards.sign())
    return weight.masked_fill(scores.isnan() | threshold.isnan(), 1.0).float()


@torch.no_grad()
def thr_weights(
    hidden: Tensor,
    token_ids: Tensor,
    log_probs: Tensor | None,
    response: Tensor,
    group: Tensor,
    correct: Tensor,
    unembedding: Tensor,
    *,
    bias: Tensor | None = None,
    temperature: float | Tensor = 1.0,
    beta: float = 1.0,
    rho: float = 0.1,
    vocabulary: Literal["response", "full"] = "response",
    anchor_includes_self: bool = True,
) -> THRResult:
    """THR of arXiv 2510.03669 for a batch of sampled responses.

    For every token t of a response with outcome r_t ∈ {0, 1}, with prediction error g_t = e_{y_t} − π_t and hidden
    state h_t, and for every prompt group:

        THR_t = (2r_t − 1) · s_t,   s_t = Σ_{i correct} (1/|y_i|) Σ_k ⟨g_{i,k}, g_t⟩ ⟨h_{i,k}, h_t⟩
        s̄⁺_i  = (1/|y_i|) Σ_k s_{i,k}  for correct i,   τ = β · min_i s̄⁺_i
        weight_t = 1[|THR_t| > max(τ, 0)] · (1 + sign(THR_t) · ρ)  in mixed groups, else 1

    computed in float32 as s_t = g_tᵀ M⁺ h_t with M⁺ = Σ_{i,k} (1/|y_i|) g_{i,k} h_{i,k}ᵀ.

    Read from descriptions of the paper, which comes without code: THR_t and its 1/|y_i|; the mask and the factor, for
    tokens of correct and of incorrect responses alike; ρ of ±0.1 and 0; τ as in NTHR, the mean influence of a correct
    response's tokens on the other correct responses. Chosen here: the 1/|y_i| in τ, NTHR's default β = 1, the guard
    τ ≥ 0, and weights of 1 where all responses are correct or all incorrect (the paper's sampling drops such groups).

    Args:
        hidden: [T, D] last hidden state that predicts each token, any float dtype.
        token_ids: [T] integer, the sampled token.
        log_probs: [T] log π(token), or None; as for :func:`verl_nthr.nthr_weights`.
        response: [T] integer, index of each token's response; tokens may be interleaved.
        group: [R] integer, prompt group of each response in 0, 1, …; −1 marks a padding row, which is ignored.
        correct: [R] bool.
        unembedding: [V, D] weight of the output layer.
        bias: [V] bias of the output layer.
        temperature: sampling temperature, one number or [R].
        beta: β, any real number; −inf keeps every token whose THR is not 0.
        rho: ρ, between −1 and 1. Above 0 it strengthens tokens that raise the likelihood of correct responses, for
            greedy accuracy: 0.1, the default, is the paper's value for that. −0.1 is its value for Pass@K. 0 keeps the
            dominant tokens as they are.
        vocabulary: coordinates on which g is taken, "response" or "full"; as for :func:`verl_nthr.nthr_weights`.
        anchor_includes_self: whether s̄⁺ counts the influence of a correct response on itself; as for
            :func:`verl_nthr.nthr_weights`.

    Returns:
        THRResult on ``hidden``'s device; the number of groups is ``group.max() + 1``.

    Raises:
        ValueError: an argument has a wrong shape, dtype, range or option name; the message names it.
        IndexError: a token id, response index or group is out of range.

    Examples:
        >>> import torch
        >>> from verl_nthr import thr_weights
        >>> hidden = torch.tensor([[1.0, 0.0], [1.0, 0.1]])  # the same token in a correct and in an incorrect answer
        >>> result = thr_weights(
        ...     hidden, token_ids=torch.tensor([0, 0]), log_probs=None, response=torch.tensor([0, 1]), beta=0.5,
        ...     group=torch.tensor([0, 0]), correct=torch.tensor([True, False]), unembedding=torch.eye(3, 2))
        >>> result.scores, result.weight
        (tensor([ 0.1797, -0.1850]), tensor([1.1000, 0.9000]))
    """
    beta, rho = check_beta(beta), check_rho(rho)
    batch = batch_influence(
        hidden,
        token_ids,
        log_probs,
        response,
        group,
        correct,
        unembedding,
        bias=bias,
        temperature=temperature,
        beta=beta,
        vocabulary=vocabulary,
        anchor_includes_self=anchor_includes_self,
        length_normalised=True,
    )
    weight = thr_token_weights(batch.scores, batch.correct, batch.token_threshold, rho)
    rewards = token_hidden_rewards(batch.scores, batch.correct)
    return THRResult(rewards, batch.anchors, batch.threshold, batch.success_rate, weight, batch.finite)
