"""The base advantage of a batch: verl's own, or a rule of :mod:`verl_nthr.advantages` in verl's place."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import torch

from verl_nthr.advantages import AdvantageRule, GroupRewards
from verl_nthr.integration.config.estimators import DR_GRPO, VERL_BASES
from verl_nthr.integration.protocol import CORRECT

if TYPE_CHECKING:
    from verl import DataProto


def compute(
    verl_function: Callable[..., DataProto], base: str, rule: AdvantageRule | None, data: DataProto, **arguments: Any
) -> DataProto:
    """The base advantage in ``data.batch["advantages"]`` and ``["returns"]`` [B, L].

    Every base takes the path that verl has for "grpo" alone: of a session with several outputs the last one is
    compared with the group, and all of them get its advantage.

    Args:
        verl_function: ``compute_advantage_for_multi_trajectories`` of ``verl.trainer.ppo.v1.utils`` (0.9).
        base: one of :data:`verl_nthr.integration.config.estimators.BASES`.
        rule: of this package, None if the base is verl's.
        data: with column :data:`CORRECT`.
        **arguments: verl's other arguments.
    """
    from verl.trainer.ppo.v1 import utils

    arguments["adv_estimator"] = "grpo"
    if base == DR_GRPO:
        arguments["norm_adv_by_std_in_grpo"] = False
    if base in ("grpo", DR_GRPO):
        return verl_function(data, **arguments)
    compute_advantage = utils.compute_advantage

    def base_advantage(final: DataProto, **arguments: Any) -> DataProto:
        if base in VERL_BASES:
            return compute_advantage(final, **(arguments | {"adv_estimator": base}))
        assert rule is not None
        mask = final.batch["response_mask"]
        advantages = rule(group_rewards_of(final)).to(mask.device)[:, None] * mask
        final.batch["advantages"] = final.batch["returns"] = advantages
        return final

    with mock.patch.object(utils, "compute_advantage", base_advantage):
        return verl_function(data, **arguments)


def without_rows(verl_function: Callable[..., DataProto], dropped: torch.Tensor) -> Callable[..., DataProto]:
    """verl's function for the other rows, as if there were no more; advantages and returns of the dropped rows are 0.

    Args:
        verl_function: as for :func:`compute`.
        dropped: [B] bool, all rows of a prompt group or none.
    """

    def function(data: DataProto, batch_keys: list[str], **arguments: Any) -> DataProto:
        kept = ~dropped
        advantages = torch.zeros_like(data.batch["response_mask"], dtype=torch.float32)
        if kept.any():
            keys = [key for key, is_kept in zip(batch_keys, kept.tolist(), strict=True) if is_kept]
            advantages[kept] = verl_function(data.select_idxs(kept), batch_keys=keys, **arguments).batch["advantages"]
        data.batch["advantages"] = data.batch["returns"] = advantages
        return data

    return function


def group_rewards_of(data: DataProto) -> GroupRewards:
    """What the rules may look at; the mean log-prob is 0 without tokens, and nan if that of a token is not finite."""
    _, group = np.unique(data.non_tensor_batch["uid"].astype(str), return_inverse=True)
    mask = data.batch["response_mask"].bool()
    rewards = data.batch["token_level_rewards"].sum(-1).float()
    log_probs = data.batch["old_log_probs"].float()
    log_probs = log_probs.masked_fill(~log_probs.isfinite(), torch.nan).masked_fill(~mask, 0.0)
    return GroupRewards(
        rewards=rewards,
        correct=data.batch[CORRECT],
        group=torch.from_numpy(group.reshape(-1)).long(),
        mean_log_prob=log_probs.sum(-1) / mask.sum(-1).clamp(min=1),
        lengths=mask.sum(-1),
    )


def warn_of_graded_rewards(base: str, rewards: torch.Tensor, threshold: float) -> None:
    """Warn, once a process, if a rule on correctness alone meets rewards [B] of more than two values."""
    values = torch.unique(rewards)
    if len(values) > 2:
        warnings.warn(
            f"algorithm.nthr.reward_threshold={threshold}: {base} takes every reward of at least this for correct and "
            f"loses the rest, but this batch has {len(values)} different rewards; choose the threshold, name a binary "
            "entry of the reward's extra info by algorithm.nthr.metric, or take another base advantage",
            stacklevel=2,
        )


def share_of_kept(advantages: torch.Tensor, mask: torch.Tensor, loss_agg_mode: str) -> float:
    """What part of verl's loss denominator the rows with an advantage are; 1 if there is none.

    verl divides the loss by all response tokens (``token-mean``) or responses (``seq-mean-...``) of a mini-batch;
    ``token-sum`` divides by nothing.

    Args:
        advantages: [B, L], zero in dropped rows.
        mask: [B, L].
        loss_agg_mode: ``actor_rollout_ref.actor.loss_agg_mode``.
    """
    tokens = mask.bool().sum(-1)
    counts = {"token-mean": tokens, "token-sum": torch.zeros_like(tokens)}.get(loss_agg_mode, (tokens > 0).long())
    kept = int(counts[(advantages != 0).any(-1)].sum())
    return kept / int(counts.sum()) if kept else 1.0
