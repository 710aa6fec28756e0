"""Rewards of more than two values: what is eased, what is warned of, and correctness by the sign of the advantage."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import pytest
import torch

from tests.integration.steps import CORRECT, StepBatch


def rewarded(reward: Callable[[str, int], float]) -> StepBatch:
    """The sound batch with other rewards, by key and place of the row."""
    step = StepBatch.sound()
    for place, (key, row) in enumerate(step.rows.items()):
        row["rm_scores"][-1] = reward(key, place)
    return step


@pytest.mark.filterwarnings("ignore:algorithm.nthr.metric")
@pytest.mark.parametrize(
    ("rewards", "kept"), [([1.0, 0.4, -1.0, -1.0], 0.54), ([0.4, 0.0, 0.0, 1.0], 0.11)], ids=["shaped", "graded"]
)
def test_a_positive_advantage_is_never_touched(rewards: list[float], kept: float) -> None:
    of_a = dict(zip(StepBatch.sound().keys_of("a"), rewards, strict=True))
    step = rewarded(lambda key, place: of_a.get(key, 0.0))
    for key in of_a:
        step.rows[key]["nthr_score"] = torch.full_like(step.rows[key]["rm_scores"], 5.0)
    found, _ = step.advantages(beta=1.0, eta=0.0)
    of_verl, _ = step.advantages("grpo", use_verl=True)
    inside = {key: row["response_mask"].bool() for key, row in step.rows.items()}
    positive = [key for key in of_a if (of_verl[key][inside[key]] > 0).any()]
    assert any(float(of_verl[key][0]) == pytest.approx(kept, abs=0.005) for key in positive)
    for key in positive:
        assert torch.equal(found[key], of_verl[key])
    assert all(float(found[key].abs().sum()) == 0 for key in of_a if key not in positive)


def test_one_warning_names_the_metric_and_what_the_extra_info_has() -> None:
    step, warned = rewarded(lambda key, place: float(place)), set()
    with pytest.warns(UserWarning, match=r"algorithm\.nthr\.metric=reward.*reward_threshold=0\.5") as caught:
        step.advantages(warned=warned)
    (said,) = [str(each.message) for each in caught if "metric=reward" in str(each.message)]
    assert "acc" in said
    assert "advantage" in said
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step.advantages(warned=warned)
        step.advantages(metric="acc")
        step.advantages("dr_grpo")
        StepBatch.sound().advantages()


def test_padding_and_outputs_without_a_reward_are_no_third_value() -> None:
    step = rewarded(lambda key, place: 0.0 if key.startswith("pad") else 1.0 if key in CORRECT else -1.0)
    step.rows["a_0_1"] = copy.deepcopy(step.rows["a_0_0"])
    step.rows["a_0_0"]["rm_scores"][-1] = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, metrics = step.advantages(reward_threshold=0.0)
    assert metrics["nthr/mixed_group_fraction"] == pytest.approx(2 / 3)


def test_a_rule_on_correctness_is_warned_of_without_that_way_out() -> None:
    with pytest.warns(UserWarning, match=r"algorithm\.nthr\.metric=reward") as caught:
        rewarded(lambda key, place: float(place)).advantages("psr")
    assert not [each for each in caught if "to advantage" in str(each.message)]


def test_the_sign_of_the_advantage_decides() -> None:
    step = rewarded(lambda key, place: 2.0 + 0.01 * place + 5.0 * (key in CORRECT))
    of_c = step.keys_of("c")
    for key in of_c:
        step.rows[key]["rm_scores"][-1] = 2.0
    (by_advantage, metrics), (by_entry, expected) = (step.advantages(metric=metric) for metric in ("advantage", "acc"))
    assert metrics["nthr/eased_fraction"] > 0
    assert metrics == pytest.approx(expected)
    for key, advantage in by_entry.items():
        assert torch.equal(by_advantage[key], advantage)
