"""NTHR on the driver: ask for scores before the old-log-prob pass, weight the advantages after verl computed them."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
import wrapt

from verl_nthr.integration import dump
from verl_nthr.integration.columns import read_columns
from verl_nthr.integration.estimators import estimator_of
from verl_nthr.integration.groups import read_groups
from verl_nthr.integration.metrics import step_metrics
from verl_nthr.integration.options import NTHROptions
from verl_nthr.integration.request import REQUEST, RESPONSE, SCORE, SECONDS, THRESHOLD, WEIGHT, ScoringRequest
from verl_nthr.integration.standing_in import standing_in

if TYPE_CHECKING:
    from transfer_queue import KVBatchMeta
    from verl import DataProto
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer


def override_trainer_base(trainer_base: ModuleType) -> None:
    """Wrap two methods of ``verl.trainer.ppo.v1.trainer_base.PPOTrainer`` (0.9).

    ``_compute_old_log_prob`` keeps only log-probs and entropies, and ``_compute_advantage`` hands an estimator neither
    log-probs nor anything else that the workers computed.
    """
    wrapt.wrap_function_wrapper(trainer_base, "PPOTrainer._compute_old_log_prob", _compute_old_log_prob)
    wrapt.wrap_function_wrapper(trainer_base, "PPOTrainer._compute_advantage", _compute_advantage)


def _compute_old_log_prob(
    wrapped: Callable[..., KVBatchMeta], trainer: PPOTrainer, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> KVBatchMeta:
    if estimator_of(trainer.config) is None:
        return wrapped(*args, **kwargs)
    return compute_old_log_prob(wrapped, trainer, *args, **kwargs)


def compute_old_log_prob(
    verl_pass: Callable[..., KVBatchMeta], trainer: PPOTrainer, batch: KVBatchMeta, metrics: dict[str, Any]
) -> KVBatchMeta:
    """verl's pass over a batch that carries a scoring request; adds the step's ``nthr/*`` metrics."""
    import transfer_queue as tq
    from tensordict import TensorDict

    options = NTHROptions.from_config(trainer.config.algorithm)
    groups = read_groups(batch, options)
    response = TensorDict({RESPONSE: groups.response}, batch_size=len(batch))
    tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=response)
    batch.extra_info[REQUEST] = ScoringRequest(groups.group, groups.correct, groups.num_mixed, options)
    try:
        output = verl_pass(batch, metrics=metrics)
    finally:
        # extra info stays with the batch: a later pass, as LoRA's reference, is not to be scored
        del batch.extra_info[REQUEST]
    output.extra_info.pop(REQUEST, None)
    columns = read_columns(output, SCORE, THRESHOLD, SECONDS)
    metrics.update(step_metrics(groups, options, columns[SCORE], columns[THRESHOLD], columns[SECONDS]))
    return output


def _compute_advantage(
    wrapped: Callable[..., KVBatchMeta], trainer: PPOTrainer, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> KVBatchMeta:
    if estimator_of(trainer.config) is None:
        return wrapped(*args, **kwargs)
    return compute_advantage(wrapped, trainer, *args, **kwargs)


def compute_advantage(
    verl_advantage: Callable[..., KVBatchMeta], trainer: PPOTrainer, batch: KVBatchMeta, metrics: dict[str, Any]
) -> KVBatchMeta:
    """The base advantage times the weights (Algorithm 1 of arXiv 2505.18830); ``returns`` stay the base's.

    Stands in for ``compute_advantage_for_multi_trajectories`` in :mod:`verl.trainer.ppo.v1.trainer_base` (0.9), so that
    verl writes the weighted advantage where it would have written its own.
    """
    from verl.trainer.ppo.v1 import trainer_base

    rows = read_columns(batch, WEIGHT)[WEIGHT].unbind()
    weight = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=1.0)
    name = "compute_advantage_for_multi_trajectories"
    base_advantage = getattr(trainer_base, name)

    def weighted_advantage(data: DataProto, *args: Any, **kwargs: Any) -> DataProto:
        data = base_advantage(data, *args, **kwargs)
        # returns may be the same tensor
        data.batch["advantages"] = data.batch["advantages"] * weight
        return data

    with standing_in(trainer_base, name, weighted_advantage):
        batch = verl_advantage(batch, metrics=metrics)
    options = NTHROptions.from_config(trainer.config.algorithm)
    if options.token_dump_dir is not None:
        records = dump.response_records(
            trainer.global_steps,
            batch.keys,
            read_columns(batch, *dump.COLUMNS),
            read_groups(batch, options),
            options,
            trainer.tokenizer,
        )
        is_later_update = trainer.local_trigger_step > 0
        dump.write_step(options.token_dump_dir, trainer.global_steps, records, append=is_later_update)
    return batch
