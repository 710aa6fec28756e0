"""The literal double sums of the papers in float64: the reference that every faster path answers to."""

from __future__ import annotations

import torch
from torch import Tensor

from verl_nthr.influence.nthr import NTHRResult
from verl_nthr.influence.thr import THRResult


@torch.no_grad()
def nthr_weights_reference(
    hidden: Tensor,
    token_ids: Tensor,
    response: Tensor,
    group: Tensor,
    correct: Tensor,
    unembedding: Tensor,
    *,
    bias: Tensor | None = None,
    temperature: float | Tensor = 1.0,
    beta: float = 1.0,
    eta: str | float = "balanced",
    vocabulary: str = "response",
    anchor_includes_self: bool = True,
) -> NTHRResult:
    """NTHR by Eq. 7 and Eq. 8 of arXiv 2505.18830, token pair by token pair, quadratic in the tokens of a group.

    Arguments and result as for :func:`verl_nthr.nthr_weights`; π always comes from a full softmax, and the float fields
    of the result are float64.
    """
    scores, anchors = influence_scores_reference(
        hidden,
        token_ids,
        response,
        group,
        correct,
        unembedding,
        bias=bias,
        temperature=temperature,
        vocabulary=vocabulary,
        anchor_includes_self=anchor_includes_self,
    )
    threshold, success_rate, finite = _of_groups(scores, anchors, response, group, correct, beta)
    etas = torch.full_like(threshold, torch.nan)
    selected = torch.zeros(len(scores), dtype=torch.bool)
    weight = torch.ones(len(scores), dtype=torch.float64)
    for x, (members, positives) in enumerate(_groups(group, correct)):
        if not members:
            continue
        p = len(positives) / len(members)
        etas[x] = {"balanced": 2 * abs(0.5 - p), "p": p, "1-p": 1 - p}[eta] if isinstance(eta, str) else eta
        for t in range(len(scores)):
            wrong = int(response[t]) in members and int(response[t]) not in positives
            if wrong and positives and finite[x] and scores[t] > threshold[x]:
                selected[t] = True
                weight[t] = etas[x]
    return NTHRResult(scores, anchors, threshold, success_rate, etas, selected, weight, finite)


@torch.no_grad()
def thr_weights_reference(
    hidden: Tensor,
    token_ids: Tensor,
    response: Tensor,
    group: Tensor,
    correct: Tensor,
    unembedding: Tensor,
    *,
    bias: Tensor | None = None,
    temperature: float | Tensor = 1.0,
    beta: float = 1.0,
    rho: float = 0.1,
    vocabulary: str = "response",
    anchor_includes_self: bool = True,
) -> THRResult:
    """THR of arXiv 2510.03669, token pair by token pair, quadratic in the tokens of a group.

    Arguments and result as for :func:`verl_nthr.thr_weights`; π always comes from a full softmax, and the float fields
    of the result are float64.
    """
    scores, anchors = influence_scores_reference(
        hidden,
        token_ids,
        response,
        group,
        correct,
        unembedding,
        bias=bias,
        temperature=temperature,
        vocabulary=vocabulary,
        anchor_includes_self=anchor_includes_self,
        length_normalised=True,
    )
    threshold, success_rate, finite = _of_groups(scores, anchors, response, group, correct, beta)
    weight = torch.ones(len(scores), dtype=torch.float64)
    for t in range(len(scores)):
        scores[t] *= 2 * int(correct[response[t]]) - 1
        x = int(group[response[t]])
        if x >= 0 and 0 < success_rate[x] < 1 and not threshold[x].isnan():
            dominant = abs(float(scores[t])) > max(float(threshold[x]), 0.0)
            weight[t] = (1 + rho if scores[t] > 0 else 1 - rho) if dominant else 0.0
    return THRResult(scores, anchors, threshold, success_rate, weight, finite)


@torch.no_grad()
def influence_scores_reference(
    hidden: Tensor,
    token_ids: Tensor,
    response: Tensor,
    group: Tensor,
    correct: Tensor,
    unembedding: Tensor,
    *,
    bias: Tensor | None = None,
    temperature: float | Tensor = 1.0,
    vocabulary: str = "response",
    anchor_includes_self: bool = True,
    length_normalised: bool = False,
) -> tuple[Tensor, Tensor]:
    """Scores s_t and anchors s̄⁺_i, token pair by token pair.

    s_t = Σ_{i correct} w_i Σ_k ⟨g_{i,k}, g_t⟩ ⟨h_{i,k}, h_t⟩ with w_i = 1, or 1/|y_i| if ``length_normalised``; the
    other arguments are those of :func:`verl_nthr.nthr_weights`.

    Returns:
        scores [T] float64, 0 for tokens of padding rows; anchors [R] float64, nan where incorrect or without tokens;
        both nan in a group with a score or an anchor that is not finite.
    """
    num_tokens, num_responses = hidden.shape[0], group.shape[0]
    temperatures = torch.as_tensor(temperature, dtype=torch.float64).expand(num_responses)
    logits = hidden.double() @ unembedding.double().T
    if bias is not None:
        logits = logits + bias.double()
    errors = -torch.softmax(logits / temperatures[response][:, None], dim=-1)
    errors[torch.arange(num_tokens), token_ids.long()] += 1.0

    scores = torch.zeros(num_tokens, dtype=torch.float64)
    anchors = torch.full((num_responses,), torch.nan, dtype=torch.float64)
    for members, positives in _groups(group, correct):
        tokens = {i: [t for t in range(num_tokens) if response[t] == i] for i in members}
        everything = sorted({int(token_ids[t]) for i in members for t in tokens[i]})
        columns = everything if vocabulary == "response" else range(unembedding.shape[0])
        g, h = errors[:, list(columns)], hidden.double()
        influence = {
            target: {i: _influence(tokens[i], target, g, h, length_normalised) for i in positives}
            for j in members
            for target in tokens[j]
        }
        for target, sources in influence.items():
            scores[target] = sum(sources.values())
        for i in positives:
            counted = [other for other in positives if anchor_includes_self or other != i]
            if tokens[i]:
                total = sum(influence[target][other] for target in tokens[i] for other in counted)
                anchors[i] = total / len(tokens[i])
        mine = [t for i in members for t in tokens[i]]
        found = torch.cat([scores[mine], anchors[[i for i in positives if tokens[i]]]])
        if not found.isfinite().all():
            scores[mine] = anchors[members] = torch.nan
    return scores, anchors


def _influence(sources: list[int], target: int, g: Tensor, h: Tensor, mean: bool) -> float:
    """Σ_k ⟨g_k, g_t⟩ ⟨h_k, h_t⟩ over the tokens of one response, or its mean; 0 for a response without tokens."""
    pairs = [float(torch.dot(g[source], g[target]) * torch.dot(h[source], h[target])) for source in sources]
    return sum(pairs) / (max(1, len(pairs)) if mean else 1)


def _of_groups(
    scores: Tensor, anchors: Tensor, response: Tensor, group: Tensor, correct: Tensor, beta: float
) -> tuple[Tensor, Tensor, Tensor]:
    """τ = β · min s̄⁺ and p of every group, float64, and whether its scores are finite, bool."""
    groups = _groups(group, correct)
    threshold, success_rate = torch.full((2, len(groups)), torch.nan, dtype=torch.float64)
    finite = torch.tensor([bool(scores[group[response] == x].isfinite().all()) for x in range(len(groups))]).bool()
    for x, (members, positives) in enumerate(groups):
        if members:
            success_rate[x] = len(positives) / len(members)
        lowest = [float(anchors[i]) for i in positives if not anchors[i].isnan()]
        if lowest:
            threshold[x] = beta if beta == -torch.inf else beta * min(lowest)
    return threshold, success_rate, finite


def _groups(group: Tensor, correct: Tensor) -> list[tuple[list[int], list[int]]]:
    """The responses of every group, and the correct ones among them."""
    num_groups = int(group.max()) + 1 if group.numel() else 0
    members = [[i for i in range(len(group)) if group[i] == x] for x in range(num_groups)]
    return [(indices, [i for i in indices if correct[i]]) for indices in members]
