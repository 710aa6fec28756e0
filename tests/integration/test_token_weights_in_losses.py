"""Which of verl's policy losses weigh every token by its own advantage, and so do what a token weight asks for."""

from __future__ import annotations

import pytest
import torch

SEQUENCE_LEVEL = ["geo_mean"]
"""What integration/combinations.py refuses."""


def gradient(loss_mode: str, advantages: torch.Tensor) -> torch.Tensor:
    """Of verl's loss by the log-probs of four responses of six tokens, at the old policy."""
    from verl.trainer.ppo.core_algos import get_policy_loss_fn
    from verl.workers.config import ActorConfig, PolicyLossConfig

    policy_loss = PolicyLossConfig(loss_mode=loss_mode, dro_beta=0.1)
    config = ActorConfig(strategy="fsdp2", rollout_n=4, ppo_micro_batch_size_per_gpu=1, policy_loss=policy_loss)
    torch.manual_seed(0)
    log_probs = (torch.randn(4, 6) - 2).requires_grad_()
    loss, _ = get_policy_loss_fn(loss_mode)(
        old_log_prob=log_probs.detach(),
        log_prob=log_probs,
        advantages=advantages,
        response_mask=torch.ones(4, 6, dtype=torch.bool),
        loss_agg_mode="token-mean",
        config=config,
        rollout_is_weights=None,
    )
    loss.backward()
    assert log_probs.grad is not None
    return log_probs.grad


def test_all_losses_of_verl_but_the_refused_one_weigh_a_token_alone() -> None:
    from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY

    base = torch.tensor([[1.5], [-0.5], [0.7], [-1.7]]).expand(4, 6)
    weight = torch.ones(4, 6)
    weight[1, 2] = 0.25
    flattening = []
    for loss_mode in POLICY_LOSS_REGISTRY:
        before, after = gradient(loss_mode, base.clone()), gradient(loss_mode, base * weight)
        changed = (after - before).abs() > 1e-7
        if changed.nonzero().tolist() == [[1, 2]]:
            assert after[1, 2] == pytest.approx(0.25 * before[1, 2])
        else:
            flattening.append(loss_mode)
    assert flattening == SEQUENCE_LEVEL
