"""NGRPO's asymmetric clip (arXiv 2509.18851) is verl's "vanilla" loss whose dual clip is out of reach.

verl clamps ln γ at 20 and bounds the loss of negative advantages by −A · ``clip_ratio_c``: from exp(20) on that bound
cannot act, and below it does.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

LOW, HIGH = 0.16, 0.24
OUT_OF_REACH = math.exp(20)


def make_tokens() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """log_probs, old_log_probs, advantages and mask [2, L]: every ratio with a positive and a negative advantage."""
    ratios = [1e-6, 0.5, 0.83, 0.84 + 1e-6, 0.9, 1.0, 1.1, 1.24 - 1e-6, 1.25, 2.0, 2.9, 3.1, 10.0, 1e3, 1e6, 4e8]
    log_ratio = torch.tensor(ratios, dtype=torch.float64).log().repeat(2, 1)
    rng = torch.Generator().manual_seed(0)
    old = -3 * torch.rand(log_ratio.shape, generator=rng, dtype=torch.float64)
    advantages = torch.tensor([[1.764], [-0.504]], dtype=torch.float64).expand_as(old)
    mask = torch.ones_like(old)
    mask[:, 5] = 0
    return old + log_ratio, old, advantages, mask


def verls_loss(log_probs: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, clip_ratio_c: float) -> Tensor:
    from verl.trainer.ppo.core_algos import compute_policy_loss_vanilla
    from verl.workers.config import ActorConfig

    config = ActorConfig(
        strategy="fsdp2",
        rollout_n=2,
        ppo_micro_batch_size_per_gpu=1,
        clip_ratio_low=LOW,
        clip_ratio_high=HIGH,
        clip_ratio_c=clip_ratio_c,
    )
    return compute_policy_loss_vanilla(old, log_probs, advantages, mask, "token-mean", config)[0]


def verls(clip_ratio_c: float) -> tuple[float, Tensor]:
    """verl's loss and its gradient."""
    log_probs, old, advantages, mask = make_tokens()
    log_probs.requires_grad_()
    loss = verls_loss(log_probs, old, advantages, mask, clip_ratio_c)
    loss.backward()
    return loss.item(), log_probs.grad


def far_loss(log_ratio: Tensor, clip_ratio_c: float) -> Tensor:
    """verl's loss of a batch of negative advantages."""
    zeros = torch.zeros_like(log_ratio)
    return verls_loss(log_ratio, zeros, zeros - 0.504, zeros + 1, clip_ratio_c)


def by_the_formula() -> tuple[float, Tensor]:
    """Token-mean of max(−A·γ, −A·clip(γ, 1 − 0.16, 1 + 0.24)), and dγ/d ln π = γ where the first is the larger."""
    log_probs, old, advantages, mask = make_tokens()
    total, count, slope = 0.0, int(mask.sum()), torch.zeros_like(log_probs)
    for place in mask.nonzero().tolist():
        i, k = place
        ratio, advantage = math.exp(log_probs[i, k] - old[i, k]), float(advantages[i, k])
        free, clipped = -advantage * ratio, -advantage * min(max(ratio, 1 - LOW), 1 + HIGH)
        total += max(free, clipped)
        slope[i, k] = free if free >= clipped else 0.0
    return total / count, slope / count


def test_verls_loss_without_dual_clip_is_ngrpos() -> None:
    (loss, gradient), (expected, slope) = verls(OUT_OF_REACH), by_the_formula()
    assert loss == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(gradient, slope, rtol=1e-12, atol=0)


@pytest.mark.parametrize("clip_ratio_c", [3.0, 1e6, 1e8])
def test_a_dual_clip_within_reach_is_not(clip_ratio_c: float) -> None:
    (loss, gradient), (expected, slope) = verls(clip_ratio_c), by_the_formula()
    assert loss < 0.9 * expected
    assert not torch.allclose(gradient, slope)


def test_no_ratio_reaches_the_bound() -> None:
    """Nor in float32, in which verl computes: a larger bound changes nothing where verl's clamp of ln γ acts."""
    far = torch.tensor([[19.9, 20.0, 25.0, 90.0]])
    assert torch.equal(far_loss(far, OUT_OF_REACH), far_loss(far, 1e30))
    assert not torch.equal(far_loss(far, OUT_OF_REACH), far_loss(far, 0.99 * OUT_OF_REACH))
