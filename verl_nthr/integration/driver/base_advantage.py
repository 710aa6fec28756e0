"""The base advantage of a batch: verl's own, or a rule of :mod:`verl_nthr.advantages` in verl's place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from verl_nthr.advantages import AdvantageRule, GroupRewards
from verl_nthr.integration.config.estimators import DR_GRPO
from verl_nthr.integration.driver.sessions import read_sessions
from verl_nthr.integration.protocol import CORRECT

if TYPE_CHECKING:
    from verl import DataProto


def base_advantages(
    base: str,
    rule: AdvantageRule | None,
    data: DataProto,
    batch_keys: Sequence[str],
    ignored: Tensor | None = None,
    **arguments: Any,
) -> Tensor:
    """Base advantage of every token: [B, L] float32, 0 outside of the response mask.

    Of a session with several outputs the last one is compared with the group, and all of them get its advantage, as in
    ``compute_advantage_for_multi_trajectories`` of :mod:`verl.trainer.ppo.v1.utils` (0.9) for "grpo" alone.

    Args:
        base: one of :data:`verl_nthr.integration.config.estimators.BASES`.
        rule: of this package, None if the base is verl's.
        data: verl's batch with column :data:`CORRECT`.
        batch_keys: B TransferQueue keys ``{uid}_{session}_{index}``.
        ignored: [B] bool, rows that count as if they were not there, and get 0.
        **arguments: those of verl's ``compute_advantage``, as verl gives them.
    """
    from verl.trainer.ppo.v1.utils import compute_advantage

    counted = [True] * len(batch_keys) if ignored is None else (~ignored).tolist()
    sessions = read_sessions(batch_keys, counted)
    mask = data.batch["response_mask"]
    advantages = torch.zeros(mask.shape, dtype=torch.float32)
    if not sessions.last_row:
        return advantages
    last = data.select_idxs(sessions.last_row)
    if rule is not None:
        values = rule(group_rewards_of(last))
    else:
        if base == DR_GRPO:
            arguments["norm_adv_by_std_in_grpo"] = False
        arguments["adv_estimator"] = "grpo" if base == DR_GRPO else base
        last = compute_advantage(last, **arguments)
        first_tokens = last.batch["response_mask"].argmax(dim=1)
        values = last.batch["advantages"][torch.arange(len(first_tokens)), first_tokens]
    session, rows = torch.tensor(sessions.of_row), torch.tensor(counted)
    advantages[rows] = values[session[rows]][:, None].float() * mask[rows]
    return advantages


def group_rewards_of(data: DataProto) -> GroupRewards:
    """Gather what rules look at; the mean log-prob is 0 without tokens, and nan if that of a token is not finite."""
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


def share_of_kept(advantages: Tensor, mask: Tensor, loss_agg_mode: str) -> float:
    """Share of verl's loss denominator that the rows with an advantage have; 1 if there is none.

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
