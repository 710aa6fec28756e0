"""From scores to the weights of the penalty (arXiv 2505.18830, Eq. 8 and Algorithm 1)."""

from __future__ import annotations

import math
import sys

import torch
from torch import Tensor

ETA_RULES = ("balanced", "p", "1-p")


def check_eta(eta: str | float) -> str | float:
    """``eta`` itself if it is a rule's name or a number in [0, 1].

    Raises:
        ValueError: otherwise.
    """
    if isinstance(eta, str):
        if eta in ETA_RULES:
            return eta
    elif not isinstance(eta, bool) and isinstance(eta, int | float) and 0.0 <= eta <= 1.0:
        return float(eta)
    raise ValueError(f"eta={eta!r}: use one of {', '.join(ETA_RULES)}, or a number in [0, 1]")


def check_beta(beta: float) -> float:
    """``beta`` as a float if it is a real number or −inf.

    Raises:
        ValueError: otherwise.
    """
    number = not isinstance(beta, bool) and isinstance(beta, int | float)
    if not number or not (beta == -math.inf or abs(beta) <= sys.float_info.max):
        raise ValueError(f"beta={beta!r}: use a real number, or -inf to select every token of a wrong answer")
    return float(beta)


def success_rates(group: Tensor, correct: Tensor, num_groups: int) -> Tensor:
    """p = N⁺/G of every group: [num_groups] float32, nan for a group without responses.

    Args:
        group: [R] int64, −1 for a padding row.
        correct: [R] bool.
    """
    counted = group >= 0
    total = torch.bincount(group[counted], minlength=num_groups)
    positive = torch.bincount(group[counted & correct], minlength=num_groups)
    return (positive / total).float()


def penalty_factor(eta: str | float, success_rate: Tensor) -> Tensor:
    """η [groups] by success rate p: "balanced" 2·|0.5 − p|, "p", "1-p", or a constant (Algorithm 1, ablation)."""
    eta = check_eta(eta)
    if eta == "balanced":
        return 2.0 * (0.5 - success_rate).abs()
    if eta == "p":
        return success_rate.clone()
    if eta == "1-p":
        return 1.0 - success_rate
    return torch.where(success_rate.isnan(), torch.nan, torch.full_like(success_rate, eta))


def thresholds(anchors: Tensor, group: Tensor, num_groups: int, beta: float) -> Tensor:
    """τ = β · min_{i'} s̄⁺_{i'} over the correct responses of a group (Eq. 8); −inf for β = −inf.

    A negative minimum makes τ negative, and a larger β then selects more tokens, not fewer.

    Args:
        anchors: [R] float32, nan where a response has none.
        group: [R] int64, −1 for a padding row.

    Returns:
        [num_groups] float32, nan for a group without anchors.
    """
    has_anchor = ~anchors.isnan() & (group >= 0)
    lowest = anchors.new_full((num_groups,), math.inf)
    lowest.scatter_reduce_(0, group[has_anchor], anchors[has_anchor], "amin")
    threshold = torch.full_like(lowest, -math.inf) if beta == -math.inf else beta * lowest
    return threshold.masked_fill(lowest == math.inf, torch.nan)


def select_tokens(scores: Tensor, threshold: Tensor, correct: Tensor) -> Tensor:
    """V_j⁻ = {k' : s⁻_{j,k'} > τ} (Eq. 8): bool, of the shape to which the arguments broadcast.

    Args:
        scores: float32, nan for a token without a score.
        threshold: float32, τ of the token's group, nan outside of mixed groups.
        correct: bool, of the token's response.
    """
    return (scores > threshold) & ~correct


def draw_tokens(selected: Tensor, candidates: Tensor, response: Tensor, generator: torch.Generator) -> Tensor:
    """As many candidates of every response as are selected, drawn at random (GRPO+Random, §5.3): [T] bool.

    Args:
        selected: [T] bool, some of the candidates.
        candidates: [T] bool.
        response: [T] int64, index of each token's response.
        generator: on the CPU.
    """
    if not len(selected):
        return selected.clone()
    draw = torch.rand(len(selected), generator=generator).to(selected.device).masked_fill(~candidates, 2.0)
    order = draw.argsort()
    order = order[response.to(order.device)[order].argsort(stable=True)]
    ordered = response.to(order.device)[order]
    counts = torch.bincount(ordered, minlength=int(ordered[-1]) + 1)
    rank = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[ordered]
    wanted = torch.bincount(response.to(order.device)[selected], minlength=len(counts))
    drawn = torch.zeros_like(selected)
    drawn[order] = rank < wanted[ordered]
    return drawn
