"""What a run is warned of while it trains: after how many updates, how often, and by which run."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable
from typing import Any

import pytest
from omegaconf import OmegaConf

from verl_nthr.integration.driver.alerts import PATIENCE, REPEAT, observe
from verl_nthr.integration.driver.run_state import RunState

WELL = {
    "nthr/eased_fraction": 0.05,
    "nthr/mixed_group_fraction": 0.9,
    "nthr/tau/negative_fraction": 0.1,
    "nthr/score/mean": -1.0,
}
NO_MIXED_GROUP = {"nthr/eased_fraction": 0.0, "nthr/mixed_group_fraction": 0.0}


def run(estimator: str = "nthr", **options: Any) -> RunState:
    algorithm = {"adv_estimator": estimator, "nthr": options}
    return RunState(OmegaConf.create({"algorithm": algorithm}))


def warned(
    steps: Iterable[dict[str, float]], estimator: str = "nthr", state: RunState | None = None, **options: Any
) -> list[tuple[int, str]]:
    """The warnings of a run, each with the number of its update."""
    state, found = state or run(estimator, **options), []
    for update, metrics in enumerate(steps, start=1):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            observe(state, metrics)
        found += [(update, str(warning.message)) for warning in caught]
    return found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (NO_MIXED_GROUP, r".*nthr/mixed_group_fraction is 0.*algorithm\.nthr\.reward_threshold"),
        ({"nthr/eased_fraction": 1.0}, r".*nthr/kept_fraction is 1.* set algorithm\.nthr\.beta=0"),
        ({"nthr/eased_fraction": 0.0}, r".*nthr/kept_fraction is 0.* move algorithm\.nthr\.beta towards 0"),
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
    bad = WELL | {"nthr/eased_fraction": 1.0}
    (told,) = warned([bad, NO_MIXED_GROUP] * PATIENCE)
    assert told[0] == 2 * PATIENCE - 1
    assert "nthr/eased_fraction" in told[1]


@pytest.mark.parametrize(
    ("change", "estimator", "options"),
    [
        ({"nthr/eased_fraction": 1.0}, "nthr", {"beta": -math.inf}),
        ({"nthr/tau/negative_fraction": 1.0}, "nthr", {"beta": -math.inf}),
        ({"nthr/tau/negative_fraction": 1.0}, "nthr", {"beta": -1.0}),
        ({"nthr/tau/negative_fraction": 1.0, "nthr/kept_fraction": 0.5}, "thr", {}),
        ({"nthr/eased_fraction": 1.0}, "pos_only", {}),
        (NO_MIXED_GROUP, "pos_only", {}),
        ({"nthr/kept_share": 0.5}, "psr", {}),
    ],
)
def test_what_is_asked_for_or_of_no_consequence_is_not_warned_of(
    change: dict[str, float], estimator: str, options: dict[str, float]
) -> None:
    assert warned([WELL | change] * 3 * PATIENCE, estimator, **options) == []


def test_two_runs_of_a_process_know_nothing_of_each_other() -> None:
    first, second = run(), run()
    almost = [NO_MIXED_GROUP] * (PATIENCE - 1)
    assert warned(almost, state=first) == warned(almost, state=second) == []
    assert len(warned([NO_MIXED_GROUP], state=first)) == 1
