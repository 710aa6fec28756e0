"""The estimators on the driver: ask for scores before the old-log-prob pass, compute base advantage and weights after.

A run with an estimator of verl passes through untouched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from torch import Tensor

from verl_nthr.integration.config.estimators import estimator_of
from verl_nthr.integration.config.options import REWARD_METRIC, AlgorithmOptions
from verl_nthr.integration.driver import alerts, base_advantage, token_dump
from verl_nthr.integration.driver.columns import read_columns, write_columns
from verl_nthr.integration.driver.groups import read_groups
from verl_nthr.integration.driver.metrics import step_metrics
from verl_nthr.integration.driver.nonfinite import NonFiniteGroups
from verl_nthr.integration.protocol import ANCHOR, CORRECT, REQUEST, RESPONSE, SCORE, SECONDS, ScoringRequest
from verl_nthr.weighting import NTHR, WEIGHTINGS, WeightingInputs

if TYPE_CHECKING:
    from transfer_queue import KVBatchMeta
    from verl import DataProto
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
    """verl's pass over a batch that carries a scoring request; its answers are columns of the batch."""
    options = AlgorithmOptions.from_config(trainer.config.algorithm).nthr
    groups = read_groups(batch, options)
    write_columns(batch, {RESPONSE: groups.response})
    weighting = WEIGHTINGS[estimator_of(trainer.config).weighting]
    request = ScoringRequest(
        groups.group,
        groups.correct,
        groups.num_mixed,
        options.vocabulary,
        options.anchor_includes_self,
        weighting.length_normalised,
        options.feature_device,
    )
    batch.extra_info[REQUEST] = request
    try:
        output = verl_pass(batch, metrics=metrics)
    finally:
        # extra info stays with the batch: a later pass, as LoRA's reference, is not to be scored
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
    """The base advantage times the weights; ``returns`` stay the base's. Adds the step's ``nthr/*`` metrics.

    Stands in for ``compute_advantage_for_multi_trajectories`` in :mod:`verl.trainer.ppo.v1.trainer_base` (0.9), so that
    verl writes our advantage where it would have written its own.
    """
    from verl.trainer.ppo.v1 import trainer_base

    step = Step(trainer, batch)
    with mock.patch.object(trainer_base, FUNCTION, step.advantage(getattr(trainer_base, FUNCTION))):
        batch = verl_advantage(batch, metrics=metrics)
    metrics.update(step.metrics)
    alerts.observe(trainer, step.estimator, step.options, step.metrics)
    if step.options.token_dump_dir is not None and step.estimator.is_scored:
        step.dump(batch)
    return batch


class Step:
    """One update's way from rewards and scores to advantages.

    Attributes:
        metrics: ``nthr/*``, once the advantage has been computed.
    """

    def __init__(self, trainer: PPOTrainer, batch: KVBatchMeta) -> None:
        estimator = estimator_of(trainer.config)
        assert estimator is not None
        self.trainer, self.estimator = trainer, estimator
        self.algorithm = AlgorithmOptions.from_config(trainer.config.algorithm)
        self.options = self.algorithm.nthr
        self.weighting = self.algorithm.weighting(estimator.weighting)
        self.groups = read_groups(batch, self.options)
        self.metrics: dict[str, float] = {}
        self._nonfinite = NonFiniteGroups(self.groups, trainer.global_steps, self.options.on_nonfinite)
        self._columns = read_columns(batch, SCORE, ANCHOR, SECONDS) if estimator.is_scored else None
        self._score = self._threshold = self._weights = torch.ones(0, 0)

    def advantage(self, verl_function: Callable[..., DataProto]) -> Callable[..., DataProto]:
        """What is to run in place of ``verl_function``."""

        def advantage(data: DataProto, **arguments: Any) -> DataProto:
            data.batch[CORRECT] = self.groups.row_correct
            rule = self.algorithm.rule(self.estimator.base)
            unrewarded = self._nonfinite.in_rewards(data.batch["token_level_rewards"])
            if rule is not None and rule.binary and self.options.metric == REWARD_METRIC:
                scores = data.batch["rm_scores"][~unrewarded].sum(-1)
                base_advantage.warn_of_graded_rewards(self.estimator.base, scores, self.options.reward_threshold)
            function = base_advantage.without_rows(verl_function, unrewarded) if unrewarded.any() else verl_function
            data = base_advantage.compute(function, self.estimator.base, rule, data, **arguments)
            advantages, mask = data.batch["advantages"], data.batch["response_mask"]
            without = self._nonfinite.in_base(advantages, self.estimator.base)
            if without.any():
                data.batch["returns"] = advantages = advantages.masked_fill(without[:, None], 0.0)
            if rule is not None and rule.drops_rows and self.algorithm.loss_denominator == "kept_tokens":
                loss_agg_mode = self.trainer.config.actor_rollout_ref.actor.loss_agg_mode
                share = base_advantage.share_of_kept(advantages, mask, loss_agg_mode)
                self.metrics["nthr/kept_share"] = share
                data.batch["returns"] = advantages = advantages / share
            # returns may be the same tensor
            data.batch["advantages"] = advantages * self._weigh(advantages, mask.bool())
            self.metrics["nthr/nonfinite_groups"] = len(self._nonfinite)
            return data

        return advantage

    def _weigh(self, advantages: Tensor, mask: Tensor) -> Tensor | float:
        if self.weighting is None:
            return 1.0
        score, threshold = torch.full_like(advantages, torch.nan), torch.full((len(advantages),), torch.nan)
        if self._columns is not None:
            rows = self._columns[SCORE].unbind()
            score = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=torch.nan)
            anchor = self._columns[ANCHOR]
            without = self._nonfinite.in_scores(score, anchor, mask)
            score = score.masked_fill(without[:, None], torch.nan)
            threshold = self.groups.thresholds(anchor, self.options.beta).masked_fill(without, torch.nan)
            self.metrics["nthr/seconds"] = float(self._columns[SECONDS].max())
        groups = self.groups
        responses = WeightingInputs(
            advantages, score, threshold, groups.row_correct, groups.success_rate, seed_of(self.trainer)
        )
        self.metrics |= step_metrics(groups, self.weighting, responses)
        self._score, self._threshold, self._weights = score, threshold, self.weighting.weights(responses)
        return self._weights

    def dump(self, batch: KVBatchMeta) -> None:
        """Write the step's token dump."""
        lengths = self._columns[SCORE].offsets().diff().tolist()
        scores, weights = (
            [row[:length] for row, length in zip(values, lengths, strict=True)]
            for values in (self._score, self._weights)
        )
        held = {
            SCORE: torch.nested.as_nested_tensor(scores, layout=torch.jagged),
            token_dump.THRESHOLD: self._threshold,
        }
        columns = read_columns(batch, *(name for name in token_dump.COLUMNS if name not in held))
        columns.update(held)
        records = token_dump.response_records(
            self.trainer.global_steps,
            batch.keys,
            columns,
            weights,
            self.groups,
            self.options.eta if isinstance(self.weighting, NTHR) else None,
            self.trainer.tokenizer,
        )
        is_later_update = self.trainer.local_trigger_step > 0
        token_dump.write_step(self.options.token_dump_dir, self.trainer.global_steps, records, append=is_later_update)


def seed_of(trainer: PPOTrainer) -> int:
    """Of one update's random choices: by ``data.seed``, the step, and the update within the step."""
    seed = trainer.config.data.get("seed") or 0
    return ((seed * 1_000_003 + trainer.global_steps) * 1_009 + trainer.local_trigger_step) % 2**63
