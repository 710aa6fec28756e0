"""What NTHR cannot run with is refused on the driver, before Ray starts a worker."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from omegaconf import DictConfig

from verl_nthr.integration.config import combinations, effects, requirements, versions
from verl_nthr.integration.config.estimators import ESTIMATORS, estimator_of
from verl_nthr.integration.config.options import HOMOGENEOUS, NTHRConfigError, NTHROptions


def check_run(config: DictConfig) -> None:
    """Check a whole training configuration of ``verl.trainer.main_ppo``.

    Raises:
        NTHRConfigError: NTHR, its monitor or its filter is asked for and cannot run so; the message lists every reason.
    """
    found = list(problems(config))
    if found:
        listing = "\n".join(f"  - {problem}" for problem in found)
        raise NTHRConfigError(f"algorithm.adv_estimator={config.algorithm.adv_estimator} cannot run:\n{listing}")


def problems(config: DictConfig) -> Iterator[str]:
    """Why NTHR, its monitor or its filter cannot run so, one reason a line; warns of what is without effect."""
    estimator = ESTIMATORS.get(config.algorithm.adv_estimator)
    if estimator is None and not config.algorithm.get("nthr"):
        return
    options = NTHROptions()
    try:
        options = NTHROptions.from_config(config.algorithm)
        estimator = estimator_of(config)
    except NTHRConfigError as error:
        yield str(error)
    is_monitored, is_filtered = options.monitor_freq > 0, options.filter_groups != HOMOGENEOUS
    for message in effects.without_effect(config, estimator, options):
        warnings.warn(message, stacklevel=4)
    if estimator is None and not is_monitored and not is_filtered:
        return
    yield from versions.refused()
    versions.warn_of_untested(config)
    if estimator is not None:
        yield from combinations.refused(config, estimator, options)
        for message in combinations.questionable(config, estimator, options):
            warnings.warn(message, stacklevel=4)
    yield from combinations.refused_filters(config, options)
    for message in combinations.questionable_filters(config, estimator, options):
        warnings.warn(message, stacklevel=4)
    needs = requirements.EVERY_RUN
    if is_monitored:
        needs = (*needs, *requirements.OLD_LOG_PROB_PASS)
    if estimator is not None and estimator.compares_group:
        needs = (*needs, *requirements.GROUPS)
    if estimator is not None and estimator.is_scored:
        needs = requirements.of_scoring(config)
    yield from requirements.unmet(config, needs)
