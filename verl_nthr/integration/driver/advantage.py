"""One update's way from rewards and scores to token advantages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from verl_nthr.integration.driver import token_dump
from verl_nthr.integration.driver.base_advantage import base_advantages, share_of_kept
from verl_nthr.integration.driver.columns import read_columns
from verl_nthr.integration.driver.metrics import step_metrics
from verl_nthr.integration.driver.nonfinite import NonFiniteGroups
from verl_nthr.integration.driver.run_state import RunState
from verl_nthr.integration.protocol import ANCHOR, CORRECT, SCORE, SECONDS
from verl_nthr.weighting import NTHR, WeightingInputs

if TYPE_CHECKING:
    from transfer_queue import KVBatchMeta
    from verl import DataProto
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer


class AdvantageComputation:
    """Computes one update's advantages; called as verl's ``compute_advantage_for_multi_trajectories``.

    Attributes:
        metrics: ``nthr/*``, once the advantages have been computed.
    """

    def __init__(self, run: RunState, trainer: PPOTrainer, batch: KVBatchMeta) -> None:
        self.trainer, self.estimator, self.algorithm = trainer, run.estimator, run.algorithm
        self.options = self.algorithm.nthr
        self.weighting = self.algorithm.weighting(self.estimator.weighting)
        self.groups = run.groups(batch, trainer.global_steps)
        self.metrics: dict[str, float] = {}
        self._nonfinite = NonFiniteGroups(self.groups, trainer.global_steps, self.options.on_nonfinite, run.warned)
        self._columns = read_columns(batch, SCORE, ANCHOR, SECONDS) if self.estimator.is_scored else None
        self._score = self._threshold = self._weights = torch.ones(0, 0)

    def __call__(self, data: DataProto, batch_keys: list[str], **arguments: Any) -> DataProto:
        """Put ``advantages`` and ``returns`` [B, L] into verl's batch."""
        data.batch[CORRECT] = self.groups.row_correct
        base = self._base(data, batch_keys, **arguments)
        data.batch["returns"] = base
        data.batch["advantages"] = base * self._weigh(base, data.batch["response_mask"].bool())
        self.metrics["nthr/nonfinite_groups"] = len(self._nonfinite)
        return data

    def _base(self, data: DataProto, batch_keys: list[str], **arguments: Any) -> Tensor:
        name, rule = self.estimator.base, self.algorithm.rule(self.estimator.base)
        unrewarded = self._nonfinite.in_rewards(data.batch["token_level_rewards"])
        base = base_advantages(name, rule, data, batch_keys, unrewarded, **arguments)
        base = base.masked_fill(self._nonfinite.in_base(base, name)[:, None], 0.0)
        if rule is not None and rule.drops_rows and self.algorithm.loss_denominator == "kept_tokens":
            loss_agg_mode = self.trainer.config.actor_rollout_ref.actor.loss_agg_mode
            share = share_of_kept(base, data.batch["response_mask"], loss_agg_mode)
            self.metrics["nthr/kept_share"] = share
            base = base / share
        return base

    def _weigh(self, base: Tensor, mask: Tensor) -> Tensor | float:
        if self.weighting is None:
            return 1.0
        score, threshold = torch.full_like(base, torch.nan), torch.full((len(base),), torch.nan)
        if self._columns is not None:
            rows = self._columns[SCORE].unbind()
            score = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=torch.nan)
            anchor = self._columns[ANCHOR]
            without = self._nonfinite.in_scores(score, anchor, mask)
            score = score.masked_fill(without[:, None], torch.nan)
            threshold = self.groups.thresholds(anchor, self.options.beta).masked_fill(without, torch.nan)
            self.metrics["nthr/seconds"] = float(self._columns[SECONDS].max())
        inputs = WeightingInputs(
            base, score, threshold, self.groups.row_correct, self.groups.success_rate, seed_of(self.trainer)
        )
        self.metrics |= step_metrics(self.groups, self.weighting, inputs)
        self._score, self._threshold, self._weights = score, threshold, self.weighting.weights(inputs)
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
    """Seed of one update's random choices, by ``data.seed``, the step, and the update within the step."""
    seed = trainer.config.data.get("seed") or 0
    return ((seed * 1_000_003 + trainer.global_steps) * 1_009 + trainer.local_trigger_step) % 2**63
