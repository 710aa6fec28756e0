"""Warnings of a run that trains, but not with what its user means by it: conditions of ``nthr/*`` metrics that last."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from verl_nthr.integration.config.estimators import Estimator
from verl_nthr.integration.config.options import NTHROptions
from verl_nthr.integration.driver.run_state import run_state
from verl_nthr.weighting import NTHR, WEIGHTINGS

if TYPE_CHECKING:
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer

PATIENCE = 10
"""Updates in a row that a condition must have held for before it is worth a warning."""

REPEAT = 100
"""Further updates in a row after which the same warning comes again."""

Metrics = Mapping[str, float]
Condition = Callable[[Metrics, Estimator, NTHROptions], bool]
Alert = tuple[str, Condition, str]
"""The metric without which an update says nothing, whether the condition holds, and the message."""


def _no_mixed_group(metrics: Metrics, estimator: Estimator, options: NTHROptions) -> bool:
    return metrics["nthr/mixed_group_fraction"] == 0


def _all_selected(metrics: Metrics, estimator: Estimator, options: NTHROptions) -> bool:
    return metrics["nthr/selected_fraction"] == 1 and options.beta != -math.inf


def _none_selected(metrics: Metrics, estimator: Estimator, options: NTHROptions) -> bool:
    return metrics["nthr/selected_fraction"] == 0


def _negative_threshold(metrics: Metrics, estimator: Estimator, options: NTHROptions) -> bool:
    # with a β below 0 that is meant, and THR takes 0 for a negative τ
    reads_sign = issubclass(WEIGHTINGS[estimator.weighting], NTHR)
    return reads_sign and options.beta > 0 and metrics["nthr/tau/negative_fraction"] > 0.5


ALERTS: tuple[Alert, ...] = (
    (
        "nthr/mixed_group_fraction",
        _no_mixed_group,
        "no prompt had both right and wrong answers (nthr/mixed_group_fraction is 0), so that no token was weighed; "
        "look at the rewards, algorithm.nthr.metric and algorithm.nthr.reward_threshold, take easier or harder "
        "prompts, raise actor_rollout_ref.rollout.n, or set algorithm.filter_groups.enable=True",
    ),
    (
        "nthr/score/mean",
        _all_selected,
        "every token that could be was selected (nthr/selected_fraction is 1), so that the scores decide nothing; set "
        "algorithm.nthr.beta=0 where nthr/tau/mean is below 0, and raise it where that is above",
    ),
    (
        "nthr/score/mean",
        _none_selected,
        "no token was selected (nthr/selected_fraction is 0), so that all tokens of an answer are treated alike; "
        "compare nthr/tau/mean with nthr/score/max, and move algorithm.nthr.beta towards 0 where τ is above 0",
    ),
    (
        "nthr/tau/negative_fraction",
        _negative_threshold,
        "τ was below 0 in most mixed groups (nthr/tau/negative_fraction is above 0.5), where a larger "
        "algorithm.nthr.beta selects more tokens, not fewer; set algorithm.nthr.beta=0, which selects the tokens that "
        "the correct answers share, and let algorithm.nthr.anchor_includes_self be true",
    ),
)


def observe(trainer: PPOTrainer, estimator: Estimator, options: NTHROptions, metrics: Metrics) -> None:
    """Look at the ``nthr/*`` metrics of an update, and warn of what has held for :data:`PATIENCE` of them.

    An update that says nothing about a condition, as one without a mixed group about τ, neither counts nor interrupts.
    """
    if not estimator.is_scored:
        return
    streaks = run_state(trainer).streaks
    for needed, holds, message in ALERTS:
        if needed not in metrics:
            continue
        streaks[message] = streaks[message] + 1 if holds(metrics, estimator, options) else 0
        if streaks[message] >= PATIENCE and (streaks[message] - PATIENCE) % REPEAT == 0:
            warnings.warn(f"for {streaks[message]} updates in a row {message}", stacklevel=2)
