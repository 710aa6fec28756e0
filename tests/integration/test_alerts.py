"""What a run is warned of while it trains: after how many updates, how often, and by which run."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable
from typing import Any

import pytest

from verl_nthr.integration.config.estimators import ESTIMATORS
from verl_nthr.integration.config.options import NTHROptions
from verl_nthr.integration.driver.alerts import PATIENCE, REPEAT, observe

WELL = {
    "nthr/selected_fraction": 0.05,
    "nthr/mixed_group_fraction": 0.9,
    "nthr/tau/negative_fraction": 0.1,
    "nthr/score/mean": -1.0,
}
NO_MIXED_GROUP = {"nthr/selected_fraction": 0.0, "nthr/mixed_group_fraction": 0.0}


class Trainer:
    """Stands in for verl's, of which nothing is read."""


def warned(
    steps: Iterable[dict[str, float]], estimator: str = "nthr", trainer: Any = None, **options: Any
) -> list[tuple[int, str]]:
    """The warnings of a run, each with the number of its update."""
    trainer, found = trainer or Trainer(), []
    for update, metrics in enumerate(steps, start=1):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            observe(trainer, ESTIMATORS[estimator], NTHROptions(**options), metrics)
        found += [(update, str(warning.message)) for warning in caught]
    return found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (NO_MIXED_GROUP, r"no prompt had both right and wrong answers .*algorithm\.nthr\.reward_threshold"),
        ({"nthr/selected_fraction": 1.0}, r"every token that could be was selected .* set algorithm\.nthr\.beta=0"),
        ({"nthr/selected_fraction": 0.0}, r"no token was selected .* move algorithm\.nthr\.beta towards 0"),
        ({"nthr/tau/negative_fraction": 0.51}, r"τ was below 0 in most mixed groups .*algorithm\.nthr\.beta=0"),
    ],
)
def test_a_condition_that_lasts_is_told_once_and_again_much_later(change: dict[str, float], message: str) -> None:
    metrics = change if change is NO_MIXED_GROUP else WELL | change
    told = warned([metrics] * (PATIENCE + 2 * REPEAT))
    assert [update for update, _ in told] == [PATIENCE, PATIENCE + REPEAT, PATIENCE + 2 * REPEAT]
    for update, text in told:
        assert re.match(f"for {update} updates in a row {message}", text)


def test_a_run_that_goes_well_is_not_warned_of() -> None:
    assert warned([WELL] * 300) == []


def test_one_good_update_in_between_starts_the_count_anew() -> None:
    almost = [NO_MIXED_GROUP] * (PATIENCE - 1)
    assert warned([*almost, WELL, *almost]) == []
    assert [update for update, _ in warned([*almost, WELL, *almost, NO_MIXED_GROUP])] == [2 * PATIENCE]


def test_an_update_without_a_mixed_group_says_nothing_of_the_tokens() -> None:
    bad = WELL | {"nthr/selected_fraction": 1.0}
    (told,) = warned([bad, NO_MIXED_GROUP] * PATIENCE)
    assert told[0] == 2 * PATIENCE - 1
    assert "every token that could be was selected" in told[1]


@pytest.mark.parametrize(
    ("change", "estimator", "options"),
    [
        ({"nthr/selected_fraction": 1.0}, "nthr", {"beta": -math.inf}),
        ({"nthr/tau/negative_fraction": 1.0}, "nthr", {"beta": -math.inf}),
        ({"nthr/tau/negative_fraction": 1.0}, "nthr", {"beta": -1.0}),
        ({"nthr/tau/negative_fraction": 1.0}, "thr", {}),
        ({"nthr/selected_fraction": 1.0}, "pos_only", {}),
        (NO_MIXED_GROUP, "pos_only", {}),
        ({"nthr/kept_share": 0.5}, "psr", {}),
    ],
)
def test_what_is_asked_for_or_of_no_consequence_is_not_warned_of(
    change: dict[str, float], estimator: str, options: dict[str, float]
) -> None:
    assert warned([WELL | change] * 3 * PATIENCE, estimator, **options) == []


def test_two_runs_of_a_process_know_nothing_of_each_other() -> None:
    first, second = Trainer(), Trainer()
    almost = [NO_MIXED_GROUP] * (PATIENCE - 1)
    assert warned(almost, trainer=first) == warned(almost, trainer=second) == []
    assert len(warned([NO_MIXED_GROUP], trainer=first)) == 1
