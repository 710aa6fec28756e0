"""Warnings about a run that trains, but not as its user expects: conditions on ``nthr/*`` metrics that persist."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping

from verl_nthr.integration.driver.run_state import RunState
from verl_nthr.weighting import NTHR, WEIGHTINGS

PATIENCE = 10
"""Updates in a row for which a condition must hold before it is warned of."""

REPEAT = 100
"""Further updates in a row after which the warning is repeated."""

Metrics = Mapping[str, float]
Condition = Callable[[Metrics, RunState], bool]
Alert = tuple[str, Condition, str]
"""The metric that the condition needs, the condition, and the message."""


def _no_mixed_group(metrics: Metrics, run: RunState) -> bool:
    return metrics["nthr/mixed_group_fraction"] == 0


def _all_affected(metrics: Metrics, run: RunState) -> bool:
    return _affected(metrics, run) == 1 and run.algorithm.nthr.beta != -math.inf


def _none_affected(metrics: Metrics, run: RunState) -> bool:
    return _affected(metrics, run) == 0


def _affected(metrics: Metrics, run: RunState) -> float:
    return metrics[f"nthr/{WEIGHTINGS[run.estimator.weighting].effect}_fraction"]


def _negative_threshold(metrics: Metrics, run: RunState) -> bool:
    # with a β below 0 that is intended, and THR replaces a negative τ by 0
    reads_sign = issubclass(WEIGHTINGS[run.estimator.weighting], NTHR)
    return reads_sign and run.algorithm.nthr.beta > 0 and metrics["nthr/tau/negative_fraction"] > 0.5


ALERTS: tuple[Alert, ...] = (
    (
        "nthr/mixed_group_fraction",
        _no_mixed_group,
        "no prompt had both correct and wrong responses (nthr/mixed_group_fraction is 0), so no token was weighed; "
        "look at the rewards, algorithm.nthr.metric and algorithm.nthr.reward_threshold, use easier or harder "
        "prompts, raise actor_rollout_ref.rollout.n, or set algorithm.filter_groups.enable=True",
    ),
    (
        "nthr/score/mean",
        _all_affected,
        "every candidate token was eased or kept (nthr/eased_fraction or nthr/kept_fraction is 1), so the scores "
        "decide nothing; set algorithm.nthr.beta=0 where nthr/tau/mean is below 0, and raise it where that is above",
    ),
    (
        "nthr/score/mean",
        _none_affected,
        "no token was eased or kept (nthr/eased_fraction or nthr/kept_fraction is 0), so all tokens of a response "
        "have the same weight; compare nthr/tau/mean with nthr/score/max, and move algorithm.nthr.beta towards 0 where "
        "τ is above 0",
    ),
    (
        "nthr/tau/negative_fraction",
        _negative_threshold,
        "τ was below 0 in most mixed groups (nthr/tau/negative_fraction is above 0.5), where a larger "
        "algorithm.nthr.beta eases more tokens, not fewer; set algorithm.nthr.beta=0, which eases the tokens that the "
        "correct responses share, and keep algorithm.nthr.anchor_includes_self=True",
    ),
)


def observe(run: RunState, metrics: Metrics) -> None:
    """Check the ``nthr/*`` metrics of an update, and warn of a condition that has held for :data:`PATIENCE` updates.

    An update without the metric of a condition, such as τ without a mixed group, neither counts nor interrupts.
    """
    if not run.estimator.is_scored:
        return
    streaks = run.streaks
    for needed, holds, message in ALERTS:
        if needed not in metrics:
            continue
        streaks[message] = streaks[message] + 1 if holds(metrics, run) else 0
        if streaks[message] >= PATIENCE and (streaks[message] - PATIENCE) % REPEAT == 0:
            warnings.warn(f"for {streaks[message]} updates in a row {message}", stacklevel=2)
