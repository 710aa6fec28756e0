"""The estimators on the driver: ask for scores before the old-log-prob pass, compute advantages after it.

A run with an estimator of verl passes through untouched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from unittest import mock

from verl_nthr.integration.config.estimators import estimator_of
from verl_nthr.integration.driver import alerts
from verl_nthr.integration.driver.advantage import AdvantageComputation
from verl_nthr.integration.driver.columns import write_columns
from verl_nthr.integration.driver.run_state import run_state
from verl_nthr.integration.protocol import REQUEST, RESPONSE, ScoringRequest
from verl_nthr.weighting import WEIGHTINGS

if TYPE_CHECKING:
    from transfer_queue import KVBatchMeta
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer

FUNCTION = "compute_advantage_for_multi_trajectories"


def around_compute_old_log_prob(
    wrapped: Callable[..., KVBatchMeta], trainer: PPOTrainer, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> KVBatchMeta:
    estimator = estimator_of(trainer.config)
    if estimator is None or not estimator.is_scored:
        return wrapped(*args, **kwargs)
    return compute_old_log_prob(wrapped, trainer, *args, **kwargs)


def compute_old_log_prob(
    verl_pass: Callable[..., KVBatchMeta], trainer: PPOTrainer, batch: KVBatchMeta, metrics: dict[str, Any]
) -> KVBatchMeta:
    """Run verl's pass over a batch that carries a scoring request; its answers are columns of the batch."""
    run = run_state(trainer)
    options, groups = run.algorithm.nthr, run.groups(batch, trainer.global_steps)
    write_columns(batch, {RESPONSE: groups.response})
    batch.extra_info[REQUEST] = ScoringRequest(
        groups.group,
        groups.correct,
        groups.num_mixed,
        options.vocabulary,
        options.anchor_includes_self,
        WEIGHTINGS[run.estimator.weighting].length_normalised,
        options.feature_device,
    )
    try:
        output = verl_pass(batch, metrics=metrics)
    finally:
        # extra info stays with the batch: a later pass, such as LoRA's reference, is not to be scored
        del batch.extra_info[REQUEST]
    output.extra_info.pop(REQUEST, None)
    return output


def around_compute_advantage(
    wrapped: Callable[..., KVBatchMeta], trainer: PPOTrainer, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> KVBatchMeta:
    if estimator_of(trainer.config) is None:
        return wrapped(*args, **kwargs)
    return compute_advantage(wrapped, trainer, *args, **kwargs)


def compute_advantage(
    verl_advantage: Callable[..., KVBatchMeta], trainer: PPOTrainer, batch: KVBatchMeta, metrics: dict[str, Any]
) -> KVBatchMeta:
    """Let verl write the base advantage times the weights, and as ``returns`` the base advantage; add ``nthr/*``.

    For the time of the call an :class:`AdvantageComputation` takes the place of
    ``compute_advantage_for_multi_trajectories`` in :mod:`verl.trainer.ppo.v1.trainer_base` (0.9).
    """
    from verl.trainer.ppo.v1 import trainer_base

    run = run_state(trainer)
    computation = AdvantageComputation(run, trainer, batch)
    with mock.patch.object(trainer_base, FUNCTION, computation):
        batch = verl_advantage(batch, metrics=metrics)
    metrics.update(computation.metrics)
    alerts.observe(run, computation.metrics)
    if run.algorithm.nthr.token_dump_dir is not None and run.estimator.is_scored:
        computation.dump(batch)
    return batch
