"""Token advantages of the variants that are compared. Axes: R responses of one group, T their tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from verl_nthr.influence import NTHRResult
from verl_nthr.influence.selection import draw_tokens

ADVANTAGE_EPSILON = 1e-6


def group_advantages(rewards: Tensor) -> Tensor:
    """GRPO's Â = (r − mean r)/std r with the population's standard deviation (Lemma 4.2): [R] float32."""
    rewards = rewards.double()
    return ((rewards - rewards.mean()) / (rewards.std(correction=0) + ADVANTAGE_EPSILON)).float()


def variants(base: Tensor, nthr: NTHRResult, wrong: Tensor, response: Tensor, seed: int) -> dict[str, Tensor]:
    """Advantages [T] by variant: GRPO, Pos-Only (max(Â, 0)), GRPO+Random and GRPO+NTHR.

    Args:
        base: [T] GRPO's advantage of each token.
        nthr: of the group.
        wrong: [T] bool, tokens of wrong responses.
        response: [T] int64, index of each token's response.
        seed: of the random draw.
    """
    drawn = draw_tokens(nthr.selected, wrong, response, torch.Generator().manual_seed(seed))
    return {
        "grpo": base,
        "pos_only": base.clamp(min=0.0),
        "random": ease(base, drawn, nthr),
        "nthr": base * nthr.weight,
    }


def ease(base: Tensor, tokens: Tensor, nthr: NTHRResult) -> Tensor:
    """η·Â at ``tokens`` [T] bool, with NTHR's η; Â elsewhere."""
    return torch.where(tokens, nthr.eta[0] * base, base)


def most_harmful(nthr: NTHRResult, wrong: Tensor, effect: Tensor) -> Tensor:
    """As many tokens of wrong responses as NTHR eases in the group, those of largest ``effect`` [T]: [T] bool.

    The number is kept for the group, not for each response: the best that so many eased tokens can do.
    """
    ranked = torch.where(wrong, effect, -torch.inf).argsort(descending=True)
    chosen = torch.zeros_like(wrong)
    chosen[ranked[: int(nthr.selected.sum())]] = True
    return chosen
