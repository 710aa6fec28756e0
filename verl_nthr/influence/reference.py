"""The literal double sums of the paper in float64: the reference that every faster path answers to."""

from __future__ import annotations

import torch
from torch import Tensor

from verl_nthr.influence.nthr import NTHRResult


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
    num_tokens, num_responses = hidden.shape[0], group.shape[0]
    num_groups = int(group.max()) + 1 if num_responses else 0
    temperatures = torch.as_tensor(temperature, dtype=torch.float64).expand(num_responses)
    logits = hidden.double() @ unembedding.double().T
    if bias is not None:
        logits = logits + bias.double()
    errors = -torch.softmax(logits / temperatures[response][:, None], dim=-1)
    errors[torch.arange(num_tokens), token_ids.long()] += 1.0

    scores = torch.zeros(num_tokens, dtype=torch.float64)
    anchors = torch.full((num_responses,), torch.nan, dtype=torch.float64)
    threshold, success_rate, etas = torch.full((3, num_groups), torch.nan, dtype=torch.float64)
    selected = torch.zeros(num_tokens, dtype=torch.bool)
    weight = torch.ones(num_tokens, dtype=torch.float64)
    for x in range(num_groups):
        members = [i for i in range(num_responses) if group[i] == x]
        tokens = {i: [t for t in range(num_tokens) if response[t] == i] for i in members}
        positives = [i for i in members if correct[i]]
        if not members:
            continue
        everything = sorted({int(token_ids[t]) for i in members for t in tokens[i]})
        columns = everything if vocabulary == "response" else range(unembedding.shape[0])
        g, h = errors[:, list(columns)], hidden.double()

        def influence(source: int, target: int, g: Tensor = g, h: Tensor = h) -> float:
            alpha = torch.dot(g[source], g[target])
            return float(alpha * torch.dot(h[source], h[target]))

        for j in members:
            for target in tokens[j]:
                scores[target] = sum(influence(source, target) for i in positives for source in tokens[i])
        for i in positives:
            sources = [t for other in positives if anchor_includes_self or other != i for t in tokens[other]]
            if tokens[i]:
                pairs = sum(influence(source, target) for target in tokens[i] for source in sources)
                anchors[i] = pairs / len(tokens[i])

        p = len(positives) / len(members)
        success_rate[x] = p
        etas[x] = {"balanced": 2 * abs(0.5 - p), "p": p, "1-p": 1 - p}[eta] if isinstance(eta, str) else eta
        lowest = [float(anchors[i]) for i in positives if tokens[i]]
        if lowest:
            threshold[x] = beta if beta == -torch.inf else beta * min(lowest)
        if 0 < p < 1 and lowest:
            for j in set(members) - set(positives):
                for t in tokens[j]:
                    if scores[t] > threshold[x]:
                        selected[t] = True
                        weight[t] = etas[x]
    return NTHRResult(scores, anchors, threshold, success_rate, etas, selected, weight)
