"""Correctness by the sign of the base advantage: ``algorithm.nthr.metric=advantage``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from verl_nthr.integration.config.options import AlgorithmOptions
from verl_nthr.integration.driver.base_advantage import base_advantages
from verl_nthr.integration.driver.columns import read_columns
from verl_nthr.integration.driver.groups import Groups, group_responses, padding_rows
from verl_nthr.integration.driver.sessions import parse_key
from verl_nthr.integration.protocol import CORRECT

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from transfer_queue import KVBatchMeta


def read_groups_by_advantage(batch: KVBatchMeta, base: str, algorithm: AlgorithmOptions, config: DictConfig) -> Groups:
    """Read the groups of a batch in TransferQueue; a response is correct if its base advantage is above 0.

    The base advantage is that of verl's unshaped scores, since it is needed before the old-log-prob pass, and a KL
    penalty is not known until after it.

    Args:
        batch: rows with ``rm_scores`` and ``response_mask``.
        base: one of :data:`verl_nthr.integration.config.estimators.BASES` that does not look at correctness.
        algorithm: the options of the run.
        config: of the run.
    """
    from verl import DataProto

    columns = read_columns(batch, "rm_scores", "response_mask")
    rewards, mask = (pad_sequence(columns[name].unbind(), batch_first=True) for name in ("rm_scores", "response_mask"))
    uids = [parse_key(key)[0] for key in batch.keys]
    data = DataProto.from_dict(
        tensors={
            "token_level_rewards": rewards.float(),
            "response_mask": mask,
            "old_log_probs": torch.zeros(rewards.shape),
            CORRECT: torch.zeros(len(uids), dtype=torch.bool),
        },
        non_tensors={"uid": np.array(uids, dtype=object)},
    )
    is_padding, unrewarded = padding_rows(batch), ~rewards.isfinite().all(dim=-1)
    advantages = base_advantages(
        base,
        algorithm.rule(base),
        data,
        batch.keys,
        torch.tensor(is_padding) | unrewarded,
        gamma=config.algorithm.gamma,
        lam=config.algorithm.lam,
        num_repeat=config.actor_rollout_ref.rollout.n,
        norm_adv_by_std_in_grpo=config.algorithm.get("norm_adv_by_std_in_grpo", True),
        config=config.algorithm,
    )
    is_correct = (advantages > 0).any(dim=-1).float().masked_fill(unrewarded, torch.nan)
    return group_responses(batch.keys, is_padding, is_correct.tolist(), threshold=0.5)
