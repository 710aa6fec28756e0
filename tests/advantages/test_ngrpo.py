"""NGRPO against its definition and against verl's GRPO on a group with one more response."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given

from tests.advantages.groups import (
    Group,
    Response,
    advantages_of,
    batches,
    binary_group,
    check_by_group,
    group_rewards,
    reproducible,
)
from verl_nthr.advantages import RULES

NGRPO = RULES["ngrpo"]


def definition(group: Group, max_reward: float = 1.0) -> np.ndarray:
    rewards = np.array([response.reward for response in group])
    if len(rewards) == 1:
        return rewards / (1 + 1e-6)
    calibrated = np.append(rewards, max_reward)
    return (rewards - np.mean(calibrated)) / (np.std(calibrated, ddof=1) + 1e-6)


@reproducible
@given(groups=batches)
def test_any_groups_have_the_advantages_of_the_definition(groups):
    check_by_group(NGRPO(), groups, definition)
    check_by_group(NGRPO(max_reward=2.5), groups, lambda group: definition(group, 2.5))


@pytest.mark.parametrize(
    ("pattern", "positive", "negative"),
    [
        # R′ = 1, 1, 7 × 0: mean 2/9, variance (2 · 49 + 7 · 4) / 81 / 8
        ("+-------", 7 / 9 / (math.sqrt(126 / 648) + 1e-6), -2 / 9 / (math.sqrt(126 / 648) + 1e-6)),
        # R′ = 1, 8 × 0: mean 1/9, variance (64 + 8) / 81 / 8
        ("--------", None, -1 / 9 / (1 / 3 + 1e-6)),
        ("++++++++", 0.0, None),
        ("-", None, 0.0),
        ("+", 1 / (1 + 1e-6), None),
    ],
)
def test_values_by_hand(pattern: str, positive: float, negative: float):
    expected = [positive if sign == "+" else negative for sign in pattern]
    assert advantages_of(NGRPO(), binary_group(pattern)) == pytest.approx(expected, rel=2e-7, abs=0)


def test_values_of_the_paper():
    mixed = advantages_of(NGRPO(), binary_group("+-------"))
    assert [round(value, 3) for value in mixed] == [1.764] + 7 * [-0.504]
    assert [round(value, 3) for value in advantages_of(NGRPO(), binary_group("--------"))] == 8 * [-0.333]


def test_small_differences_show_epsilon():
    step = 2.0**-20
    group = [Response(True, 1.0), Response(True, 1.0), Response(False, 1.0 - 2 * step)]
    # R′ = 1, 1, 1, 1 − 2 · step: mean 1 − step/2, variance (3 + 9) · step²/4 / 3
    expected = [step / 2 / (step + 1e-6)] * 2 + [-1.5 * step / (step + 1e-6)]
    assert advantages_of(NGRPO(), group) == pytest.approx(expected, rel=2e-7)


def test_it_is_the_grpo_of_verl_with_a_virtual_response():
    from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage

    patterns = ("+-------", "--------", "++--", "+++++")
    groups = [binary_group(pattern) for pattern in patterns]
    rows = [(index, reward) for index, group in enumerate(groups) for reward in [*(r.reward for r in group), 1.0]]
    virtual = [place == len(group) for group in groups for place in range(len(group) + 1)]
    index, rewards = zip(*rows, strict=True)
    expected, _ = compute_grpo_outcome_advantage(
        torch.tensor(rewards)[:, None], torch.ones(len(rows), 1), np.array(index, dtype=object)
    )
    torch.testing.assert_close(NGRPO()(group_rewards(groups)), expected[~torch.tensor(virtual), 0], rtol=2e-6, atol=0)


def test_a_reward_above_the_best_is_refused():
    batch = group_rewards([[Response(True, 1.0), Response(False, -1.0)]])
    message = (
        r"^algorithm\.ngrpo\.max_reward=0\.5, but a response has the reward 1: "
        "set it to the best reward that a response can get$"
    )
    with pytest.raises(ValueError, match=message):
        NGRPO(max_reward=0.5)(batch)


def test_the_best_reward_may_be_no_float32():
    # 0.1 is a little less than its float32
    assert advantages_of(NGRPO(max_reward=0.1), [Response(True, 0.1)] * 3) == [0.0] * 3
