"""LENS against its definition in 60 digits, and against verl's GRPO on its rewards."""

from __future__ import annotations

import decimal
import itertools
import math
from decimal import Decimal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.advantages.groups import (
    Group,
    Response,
    advantages_of,
    any_group,
    batches,
    check_by_group,
    group_rewards,
    groups_of,
    reproducible,
)
from verl_nthr.advantages import RULES

LENS = RULES["lens"]
EXACT = decimal.Context(prec=60, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX)


def calibrated_rewards(group: Group) -> list[Decimal]:
    with decimal.localcontext(EXACT):
        confidence = [Decimal(response.mean_log_prob).exp() for response in group]
        difficulty = 2 * max(confidence)
        correct = [response for response in group if response.correct]
        if correct:
            inverse = [1 / (Decimal(response.mean_log_prob) * response.length).exp() for response in correct]
            difficulty = max(difficulty, len(group) / sum(inverse))
        return [
            Decimal(1) if response.correct else -value / (difficulty - value) / len(group)
            for response, value in zip(group, confidence, strict=True)
        ]


def definition(group: Group, all_wrong_weight: float = 0.25) -> list[float]:
    num_correct = sum(response.correct for response in group)
    if num_correct == len(group):
        return [0.0] * len(group)
    with decimal.localcontext(EXACT):
        rewards = calibrated_rewards(group)
        mean = sum(rewards) / len(rewards)
        if num_correct == 0:
            scale = Decimal(all_wrong_weight)
        else:
            variance = sum((reward - mean) ** 2 for reward in rewards) / (len(rewards) - 1)
            scale = 1 / (variance.sqrt() + Decimal("1e-6"))
        return [float(scale * (reward - mean)) for reward in rewards]


@reproducible
@given(groups=batches)
def test_any_groups_have_the_advantages_of_the_definition(groups):
    check_by_group(LENS(), groups, definition)
    check_by_group(LENS(all_wrong_weight=1.5), groups, lambda group: definition(group, 1.5))


def wrong(confidence: float) -> Response:
    return Response(False, mean_log_prob=math.log(confidence) if confidence else -1000.0)


def right(confidence: float, length: int = 1000) -> Response:
    return Response(True, 1.0, math.log(confidence), length)


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        # r̃ = −1/2 · 1/(2 − 1), −1/2 · ½/(2 − ½): mean −1/3
        ([wrong(1.0), wrong(0.5)], [-1 / 24, 1 / 24]),
        # D = 1, half as much as before, and the same r̃
        ([wrong(0.5), wrong(0.25)], [-1 / 24, 1 / 24]),
        # r̃ = −1/3, −1/3 · 0.5/1.5 = −1/9, 0: mean −4/27
        ([wrong(1.0), wrong(0.5), wrong(0.0)], [-5 / 108, 1 / 108, 4 / 108]),
        ([wrong(0.5), wrong(0.5)], [0.0, 0.0]),
        ([wrong(0.0), wrong(0.0)], [0.0, 0.0]),
        ([wrong(0.5)], [0.0]),
        ([right(0.5), right(0.25)], [0.0, 0.0]),
        ([right(0.5)], [0.0]),
    ],
)
def test_homogeneous_groups_by_hand(group: Group, expected: list[float]):
    assert advantages_of(LENS(), group) == pytest.approx(expected, rel=3e-7, abs=0)


@pytest.mark.parametrize(
    ("lengths", "difficulty"),
    [
        # 1/D_imp = 1/6 · (1/0.9 + 1/0.6), and D_imp = 2.16 is above 2 · 0.9
        ((1, 1), 2.16),
        # 1/D_imp = 1/6 · (1/0.81 + 1/0.6) = 1/6 · 1.41/0.486
        ((2, 1), 2.916 / 1.41),
        # D_imp is below 2 · 0.9
        ((2, 2), 1.8),
        # D_imp is almost 0
        ((1000, 1), 1.8),
        ((100_000, 100_000), 1.8),
    ],
)
def test_mixed_groups_by_hand(lengths: tuple[int, int], difficulty: float):
    confidence = np.array([0.2, 0.8, 0.8, 0.5])
    rewards = np.array([1, 1, *-confidence / (difficulty - confidence) / 6])
    expected = (rewards - rewards.mean()) / (rewards.std(ddof=1) + 1e-6)
    group = [right(0.9, lengths[0]), right(0.6, lengths[1]), *map(wrong, confidence.tolist())]
    assert advantages_of(LENS(), group) == pytest.approx(expected.tolist(), rel=3e-7)


def test_it_is_the_grpo_of_verl_on_the_calibrated_rewards():
    from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage

    groups = [
        [right(0.9, 3), wrong(0.7), wrong(0.3)],
        [right(0.4), wrong(0.99), right(0.2), wrong(0.01), wrong(0.0)],
    ]
    rewards = torch.tensor([[float(reward)] for group in groups for reward in calibrated_rewards(group)])
    index = np.array([0] * 3 + [1] * 5, dtype=object)
    expected, _ = compute_grpo_outcome_advantage(rewards, torch.ones(8, 1), index)
    torch.testing.assert_close(LENS()(group_rewards(groups)), expected[:, 0], rtol=3e-6, atol=0)


@reproducible
@given(group=any_group.filter(lambda group: len({response.correct for response in group}) == 2))
def test_mistakes_stay_below_correct_responses(group: Group):
    for response, advantage in zip(group, advantages_of(LENS(), group), strict=True):
        assert advantage > 0 if response.correct else advantage < 0


@reproducible
@given(group=groups_of(st.just(False)))
def test_confident_mistakes_cost_more(group: Group):
    advantages = advantages_of(LENS(), group)
    assert sum(advantages) == pytest.approx(0, abs=1e-7)
    by_confidence = sorted(zip(group, advantages, strict=True), key=lambda pair: pair[0].mean_log_prob)
    for (_, less), (_, more) in itertools.pairwise(by_confidence):
        assert more <= less
