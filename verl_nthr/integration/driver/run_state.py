"""State of a run that outlives a step."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Any

from verl_nthr.integration.config.estimators import Estimator, estimator_of
from verl_nthr.integration.config.options import ADVANTAGE_METRIC, REWARD_METRIC, AlgorithmOptions
from verl_nthr.integration.driver.advantage_sign import read_groups_by_advantage
from verl_nthr.integration.driver.graded_rewards import GRADED, warn_of_graded_rewards
from verl_nthr.integration.driver.groups import Groups, padding_rows, read_groups

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from transfer_queue import KVBatchMeta

ATTRIBUTE = "_nthr_run_state"


class RunState:
    """The options and the memory of one run; it lives as long as the run's trainer.

    Attributes:
        has_checked_workers: whether the workers have been asked if they can do their part.
        streaks: updates in a row that the condition of an alert has held for, by the alert's message.
        warned: what has been warned of, and is not to be again.
    """

    def __init__(self, config: DictConfig) -> None:
        self.has_checked_workers = False
        self.streaks: Counter[str] = Counter()
        self.warned: set[str] = set()
        self._config = config
        self._groups: tuple[tuple[Any, ...], Groups] | None = None

    @cached_property
    def estimator(self) -> Estimator | None:
        """The estimator of this package that the run asks for, or None."""
        return estimator_of(self._config)

    @cached_property
    def algorithm(self) -> AlgorithmOptions:
        """The options of the run."""
        return AlgorithmOptions.from_config(self._config.algorithm)

    def groups(self, batch: KVBatchMeta, step: int) -> Groups:
        """The prompt groups of a batch of a step, read once however often they are asked for."""
        rows = step, tuple(batch.keys), tuple(padding_rows(batch))
        if self._groups is None or self._groups[0] != rows:
            self._groups = rows, self._read_groups(batch)
        return self._groups[1]

    def _read_groups(self, batch: KVBatchMeta) -> Groups:
        estimator, options = self.estimator, self.algorithm.nthr
        if options.metric == ADVANTAGE_METRIC:
            base = estimator.base if estimator is not None else str(self._config.algorithm.adv_estimator)
            return read_groups_by_advantage(batch, base, self.algorithm, self._config)
        groups = read_groups(batch, options)
        needs_two_values = estimator is not None and (estimator.is_scored or estimator.is_binary)
        is_graded = options.metric == REWARD_METRIC and groups.num_values > 2
        if needs_two_values and is_graded and GRADED not in self.warned:
            self.warned.add(GRADED)
            warn_of_graded_rewards(batch, groups.num_values, options.reward_threshold, estimator)
        return groups


def run_state(trainer: Any) -> RunState:
    """Return the state of the run of a ``verl.trainer.ppo.v1.trainer_base.PPOTrainer``, made at the first call."""
    if ATTRIBUTE not in vars(trainer):
        setattr(trainer, ATTRIBUTE, RunState(trainer.config))
    return vars(trainer)[ATTRIBUTE]
