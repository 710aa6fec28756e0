"""Monitor of displacement: how an update changes the likelihood of the batch's correct responses.

It works with every estimator, so users can see whether they have the problem before they change anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from verl_nthr.integration.driver.columns import read_columns
from verl_nthr.integration.driver.run_state import run_state

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from transfer_queue import KVBatchMeta
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer


def around_step_once(
    wrapped: Callable[..., KVBatchMeta], trainer: PPOTrainer, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> KVBatchMeta:
    if not trainer.config.algorithm.get("lld_monitor"):
        return wrapped(*args, **kwargs)
    return step_once(wrapped, trainer, *args, **kwargs)


def step_once(
    verl_step: Callable[..., KVBatchMeta],
    trainer: PPOTrainer,
    metrics: dict[str, Any],
    timing_raw: dict[str, float],
    sample_batch_size: int,
) -> KVBatchMeta:
    """Run verl's step, and every ``algorithm.lld_monitor.freq`` steps a pass over the correct responses after it."""
    from verl.utils.debug import marked_timer

    batch = verl_step(metrics, timing_raw, sample_batch_size)
    freq = run_state(trainer).algorithm.lld_monitor.freq
    is_due = freq > 0 and trainer.global_steps % freq == 0
    if is_due and trainer.config.trainer.critic_warmup <= trainer.global_steps:
        with marked_timer("lld_monitor", timing_raw):
            metrics.update(measure(trainer, batch))
    return batch


def measure(trainer: PPOTrainer, batch: KVBatchMeta) -> dict[str, float]:
    """Compare a log-prob pass of the updated actor over the correct responses with the old one; {} if all are wrong."""
    run = run_state(trainer)
    is_correct = run.groups(batch, trainer.global_steps).row_correct.tolist()
    multiple = _batch_multiple(trainer.config, max(trainer.actor_rollout_wg._dispatch_info["actor"]) + 1)
    chosen = rows_of_pass(is_correct, multiple)
    if not chosen:
        return {}
    part = batch.select_keys([batch.keys[row] for row in chosen])
    part.extra_info = {
        "calculate_entropy": False,
        "compute_loss": False,
        "temperature": trainer.config.actor_rollout_ref.rollout.temperature,
    }
    trainer.actor_rollout_wg.compute_log_prob(part)
    columns = read_columns(part, "log_probs", "old_log_probs", "response_mask")
    from verl.workers.utils.padding import response_from_nested

    mask = columns["response_mask"]
    new = response_from_nested(columns["log_probs"], mask)
    change = (new.values() - columns["old_log_probs"].values()) * mask.values()
    delta = torch.stack([tokens.sum() for tokens in change.split(mask.offsets().diff().tolist())])
    return displacement_metrics(delta[: sum(is_correct)], run.algorithm.lld_monitor.epsilon)


def rows_of_pass(is_correct: Sequence[bool], multiple: int) -> list[int]:
    """Choose the correct rows, filled up with others to a multiple of ``multiple``; [] if none is correct."""
    correct = [row for row, right in enumerate(is_correct) if right]
    fill = -len(correct) % multiple
    return correct + [row for row, right in enumerate(is_correct) if not right][:fill] if correct else []


def displacement_metrics(delta: Tensor, epsilon: float) -> dict[str, float]:
    """Summarise the changes Δ = ln π_new(y⁺|x) − ln π_old(y⁺|x) of the correct responses [R] (Eq. 2).

    Returns:
        nthr/lld/delta_logp/mean and /p10; nthr/lld/share_negative (Δ < 0); nthr/lld/share_lazy (Δ < ε, Def. 4.1).
    """
    return {
        "nthr/lld/delta_logp/mean": float(delta.mean()),
        "nthr/lld/delta_logp/p10": float(delta.quantile(0.1)),
        "nthr/lld/share_negative": float((delta < 0).float().mean()),
        "nthr/lld/share_lazy": float((delta < epsilon).float().mean()),
    }


def _batch_multiple(config: DictConfig, data_parallel_size: int) -> int:
    """Number of which a pass needs a multiple of rows, so that every rank has whole micro-batches."""
    rollout = config.actor_rollout_ref.rollout
    micro_batch = 1 if rollout.log_prob_use_dynamic_bsz else rollout.log_prob_micro_batch_size_per_gpu
    return math.prod((data_parallel_size, micro_batch))
