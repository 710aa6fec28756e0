"""The public function: from hidden states to the weight of every token's penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from verl_nthr.influence.batch import batch_influence
from verl_nthr.influence.selection import check_beta, check_eta, penalty_factor, select_tokens


@dataclass(frozen=True)
class NTHRResult:
    """Scores and weights of NTHR for a batch.

    Attributes:
        scores: [T] float32, s_t (Eq. 7) for tokens of correct and of incorrect responses; nan in groups that are not
            finite, 0 for tokens of padding rows.
        anchors: [R] float32, s̄⁺ (Eq. 8) of correct responses; nan for incorrect ones, for those without tokens, and in
            groups that are not finite.
        threshold: [groups] float32, τ = β · min s̄⁺, nan for a group without anchors.
        success_rate: [groups] float32, p = N⁺/G, nan for a group without responses.
        eta: [groups] float32, η.
        selected: [T] bool, whether the token's penalty is eased.
        weight: [T] float32, the factor of the token's advantage: η where selected, else 1.
        finite: [groups] bool, whether all that the scores of a group come from, and they themselves, are finite; where
            not, nothing is selected.
    """

    scores: Tensor
    anchors: Tensor
    threshold: Tensor
    success_rate: Tensor
    eta: Tensor
    selected: Tensor
    weight: Tensor
    finite: Tensor


@torch.no_grad()
def nthr_weights(
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
    eta: Literal["balanced", "p", "1-p"] | float = "balanced",
    vocabulary: Literal["response", "full"] = "response",
    anchor_includes_self: bool = True,
) -> NTHRResult:
    """NTHR of arXiv 2505.18830 for a batch of sampled responses.

    For every token t with prediction error g_t = e_{y_t} − π_t and hidden state h_t, and for every prompt group:

        s_t   = Σ_{i correct} Σ_k ⟨g_{i,k}, g_t⟩ ⟨h_{i,k}, h_t⟩                        (Eq. 7)
        s̄⁺_i  = (1/|y_i|) Σ_k s_{i,k}  for correct i,   τ = β · min_i s̄⁺_i            (Eq. 8)
        weight_t = η if t belongs to an incorrect response and s_t > τ, else 1        (Algorithm 1)

    computed in float32 as s_t = g_tᵀ M⁺ h_t with M⁺ = Σ_{i,k} g_{i,k} h_{i,k}ᵀ (App. 7.4). In groups whose responses
    are all correct or all incorrect nothing is selected, nor in groups in which anything is not finite.

    Args:
        hidden: [T, D] last hidden state that predicts each token, any float dtype.
        token_ids: [T] integer, the sampled token.
        log_probs: [T] log π(token) under the same model and temperature; it gives the softmax's normaliser as
            log Z = logit(token)/temperature − log π(token). None takes a softmax over the vocabulary instead, in
            float64.
        response: [T] integer, index of each token's response; tokens may be interleaved.
        group: [R] integer, prompt group of each response in 0, 1, …; −1 marks a padding row, which is ignored.
        correct: [R] bool.
        unembedding: [V, D] weight of the output layer.
        bias: [V] bias of the output layer.
        temperature: sampling temperature, one number or [R].
        beta: β, any real number; −inf selects every token of every incorrect response. Where min s̄⁺ is negative, a
            larger β lowers τ and selects more.
        eta: η: "balanced" is 2·|0.5 − p| with the success rate p, "p", "1-p", or a number in [0, 1].
        vocabulary: coordinates on which g is taken: "response" is the unique token ids of the group's responses (the
            paper's V*_x; the probabilities are not renormalised), "full" is the whole vocabulary.
        anchor_includes_self: whether Eq. 8 counts the influence of a correct response on itself. The paper is
            ambiguous: its matrix form and Eq. 5 include it (the default), its prose says "other correct responses".
            Without it, a group with one correct response has s̄⁺ = 0 and so τ = 0.

    Returns:
        NTHRResult on ``hidden``'s device; the number of groups is ``group.max() + 1``.

    Raises:
        ValueError: an argument has a wrong shape, dtype, range or option name; the message names it.
        IndexError: a token id, response index or group is out of range.

    Examples:
        >>> import torch
        >>> from verl_nthr import nthr_weights
        >>> hidden = torch.tensor([[1.0, 0.0], [1.0, 0.1]])  # one token each of a correct and of an incorrect answer
        >>> result = nthr_weights(
        ...     hidden, token_ids=torch.tensor([0, 1]), log_probs=None, response=torch.tensor([0, 1]),
        ...     group=torch.tensor([0, 0]), correct=torch.tensor([True, False]), unembedding=torch.eye(3, 2))
        >>> result.success_rate, result.weight
        (tensor([0.5000]), tensor([1., 1.]))
    """
    beta, eta = check_beta(beta), check_eta(eta)
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
        length_normalised=False,
    )
    factor = penalty_factor(eta, batch.success_rate)
    selected = select_tokens(batch.scores, batch.token_threshold, batch.correct)
    weight = torch.ones_like(batch.scores)
    weight[selected] = factor[batch.group[selected]]
    return NTHRResult(
        batch.scores, batch.anchors, batch.threshold, batch.success_rate, factor, selected, weight, batch.finite
    )
