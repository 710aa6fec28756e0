"""verl's own advantage estimators and policy loss, called outside of its trainer.

Axes: R responses, L tokens of the longest one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def advantages(estimator: str, rewards: Tensor, mask: Tensor, group: Tensor, **settings: Any) -> Tensor:
    """Token advantages of an estimator in verl's registry, with verl's default ``algorithm`` settings: [R, L] float32.

    Args:
        estimator: name in ``verl.trainer.ppo.core_algos`` of an estimator that takes rewards and groups.
        rewards: [R] outcome rewards; verl sees them at the last token.
        mask: [R, L] bool, response tokens, from the left and at least one a row.
        group: [R] int64, prompt group of each response.
        **settings: further arguments of the estimator, as ``norm_adv_by_std_in_grpo``.

    Raises:
        ValueError: verl has no such estimator.
    """
    from verl.trainer.config import AlgoConfig
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    token_rewards = torch.zeros(mask.shape)
    token_rewards.scatter_(1, mask.sum(1, keepdim=True) - 1, rewards.float()[:, None])
    result, _ = get_adv_estimator_fn(estimator)(
        token_level_rewards=token_rewards,
        response_mask=mask.float(),
        index=group.numpy(),
        config=AlgoConfig(),
        **settings,
    )
    return result


def policy_loss(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """verl's "vanilla" loss (clip 0.2, dual clip 3, token mean) of a batch that is one mini-batch: a scalar.

    Args:
        log_probs: [R, L], with gradients.
        old_log_probs: [R, L].
        advantages: [R, L].
        mask: [R, L] bool.
    """
    from verl.trainer.ppo.core_algos import compute_policy_loss_vanilla
    from verl.workers.config import ActorConfig

    config = ActorConfig(strategy="fsdp2", rollout_n=len(mask), ppo_micro_batch_size_per_gpu=1)
    loss, _ = compute_policy_loss_vanilla(
        old_log_prob=old_log_probs,
        log_prob=log_probs,
        advantages=advantages,
        response_mask=mask.float(),
        loss_agg_mode=config.loss_agg_mode,
        config=config,
    )
    return loss
