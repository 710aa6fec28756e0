"""State of a run that outlives a step."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Any

from verl_nthr.integration.config.estimators import Estimator, estimator_of
from verl_nthr.integration.config.options import ADVANTAGE_METRIC, AlgorithmOptions
from verl_nthr.integration.driver.advantage_sign import read_groups_by_advantage
from verl_nthr.integration.driver.groups import Groups, read_groups

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
        rows = step, tuple(batch.keys), tuple(bool(tag.get("is_padding", False)) for tag in batch.tags)
        if self._groups is None or self._groups[0] != rows:
            self._groups = rows, self._read_groups(batch)
        return self._groups[1]

    def _read_groups(self, batch: KVBatchMeta) -> Groups:
        if self.algorithm.nthr.metric != ADVANTAGE_METRIC:
            return read_groups(batch, self.algorithm.nthr)
        base = self.estimator.base if self.estimator is not None else str(self._config.algorithm.adv_estimator)
        return read_groups_by_advantage(batch, base, self.algorithm, self._config)


def run_state(trainer: Any) -> RunState:
    """Return the state of the run of a ``verl.trainer.ppo.v1.trainer_base.PPOTrainer``, made at the first call."""
    if ATTRIBUTE not in vars(trainer):
        setattr(trainer, ATTRIBUTE, RunState(trainer.config))
    return vars(trainer)[ATTRIBUTE]
