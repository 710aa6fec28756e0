"""A training configuration as the checks see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from verl_nthr.integration.config.estimators import ESTIMATORS, Estimator, estimator_of
from verl_nthr.integration.config.loss_options import POLICY_LOSS, LossTerms
from verl_nthr.integration.config.nodes import NTHRConfigError
from verl_nthr.integration.config.options import HOMOGENEOUS, AlgorithmOptions


class Problem(str):
    """Reason why a run cannot work: the key, its value, and the fix."""


class Caution(str):
    """Warning about a run, which goes on."""


Findings = Iterator[Problem | Caution]


@dataclass(frozen=True)
class Run:
    """Configuration of a run with this package's options, which have their defaults where they cannot be read."""

    config: DictConfig
    estimator: Estimator | None
    options: AlgorithmOptions
    terms: LossTerms

    def get(self, key: str) -> Any:
        """Read the value of a key, None if the configuration lacks it."""
        return OmegaConf.select(self.config, key, default=None)

    @property
    def base(self) -> str | None:
        """Base advantage; None with verl's estimators."""
        return self.estimator.base if self.estimator is not None else None

    @property
    def weighting(self) -> str | None:
        """Token weighting, if any."""
        return self.estimator.weighting if self.estimator is not None else None

    @property
    def is_scored(self) -> bool:
        """True if the old-log-prob pass scores tokens."""
        return self.estimator is not None and self.estimator.is_scored

    @property
    def is_monitored(self) -> bool:
        """True if the likelihood monitor runs."""
        return self.options.lld_monitor.freq > 0

    @property
    def is_filtered(self) -> bool:
        """True if verl's group filter drops one kind of homogeneous groups only."""
        return self.options.filter_groups.drop != HOMOGENEOUS

    @property
    def takes_part(self) -> bool:
        """True if this package changes anything in the run."""
        return self.estimator is not None or self.is_monitored or self.is_filtered or self.terms.is_active


def read_run(config: DictConfig) -> tuple[Run, list[Problem]]:
    """Read a configuration; return it with the reasons why parts of it cannot be read."""
    problems: list[Problem] = []
    algorithm, policy_loss = config.algorithm, OmegaConf.select(config, POLICY_LOSS, default=None)
    estimator, options, terms = ESTIMATORS.get(str(algorithm.adv_estimator)), AlgorithmOptions(), LossTerms()
    group_filter = algorithm.get("filter_groups")
    has_options = any(algorithm.get(key) is not None for key in ("nthr", "lld_monitor", "loss_denominator"))
    try:
        if estimator is not None or has_options or (isinstance(group_filter, Mapping) and "drop" in group_filter):
            options = AlgorithmOptions.from_config(algorithm)
            estimator = estimator_of(config)
    except NTHRConfigError as error:
        problems.append(Problem(error))
    try:
        terms = LossTerms.from_config(policy_loss if isinstance(policy_loss, Mapping) else {})
    except NTHRConfigError as error:
        problems.append(Problem(error))
    return Run(config, estimator, options, terms), problems
