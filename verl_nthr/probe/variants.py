"""Token advantages of the variants that are compared. Axes: R responses of one group, T their tokens."""

from __future__ import annotations

import torch
from torch import Tensor

ADVANTAGE_EPSILON = 1e-6


def group_advantages(rewards: Tensor) -> Tensor:
    """GRPO's Â = (r − mean r)/std r with the population's standard deviation (Lemma 4.2): [R] float32."""
    rewards = rewards.double()
    return ((rewards - rewards.mean()) / (rewards.std(correction=0) + ADVANTAGE_EPSILON)).float()


def positive_only(advantages: Tensor) -> Tensor:
    """Pos-Only: Â ← max(Â, 0)."""
    return advantages.clamp(min=0.0)


def spare(advantages: Tensor, selected: Tensor, eta: float) -> Tensor:
    """Â ← η·Â where ``selected`` [T]."""
    return torch.where(selected, eta * advantages, advantages)


def select_random(selected: Tensor, response: Tensor, generator: torch.Generator) -> Tensor:
    """As many tokens of every response as are ``selected`` [T], drawn at random: [T] bool.

    Args:
        selected: what NTHR selects.
        response: [T] int64, index of each token's response.
        generator: on the CPU.
    """
    drawn = torch.zeros_like(selected)
    for row in torch.unique(response[selected]).tolist():
        tokens = (response == row).nonzero()[:, 0]
        order = torch.randperm(len(tokens), generator=generator).to(tokens.device)
        drawn[tokens[order[: int(selected[tokens].sum())]]] = True
    return drawn


def select_most_harmful(selected: Tensor, candidates: Tensor, effect: Tensor) -> Tensor:
    """As many ``candidates`` [T] of the group as are ``selected`` [T], those of largest ``effect`` [T]: [T] bool.

    The number is kept for the group, not for each response: the best that so many spared tokens can do.
    """
    ranked = torch.where(candidates, effect, -torch.inf).argsort(descending=True)
    chosen = torch.zeros_like(selected)
    chosen[ranked[: int(selected.sum())]] = True
    return chosen
