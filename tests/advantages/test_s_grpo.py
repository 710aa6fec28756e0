"""S-GRPO against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.advantages.groups import Group, advantages_of, batches, binary_group, check_by_group, reproducible
from verl_nthr.advantages import RULES

SGRPO = RULES["s_grpo"]


def definition(group: Group, noise_rate: float) -> np.ndarray:
    rewards = np.array([float(response.correct) for response in group])
    if len(rewards) == 1:
        return np.zeros(1)
    observed = rewards.mean()
    true = min(max((observed - noise_rate) / (1 - 2 * noise_rate), 0.0), 1.0)
    numerator = (1 - 2 * noise_rate) * true * (1 - true)
    weight = numerator / (math.sqrt(observed * (1 - observed) + 1e-8) * math.sqrt(true * (1 - true) + 1e-8))
    return weight * (rewards - observed) / (rewards.std(ddof=1) + 1e-8)


@reproducible
@given(groups=batches, noise_rate=st.one_of(st.just(0.1), st.floats(0.0, 0.49)))
def test_any_groups_have_the_advantages_of_the_definition(groups, noise_rate: float):
    check_by_group(SGRPO(noise_rate=noise_rate), groups, lambda group: definition(group, noise_rate))


@pytest.mark.parametrize(
    ("pattern", "positive", "negative"),
    [
        # r̄ = t = 1/2, w = 0.8, std = √(2/7)
        ("++++----", 0.4 / math.sqrt(2 / 7), -0.4 / math.sqrt(2 / 7)),
        # r̄ = 1/8, t = 1/32, w = 0.8 · √(31/1024) / √(7/64), std = √(1/8)
        ("+-------", 0.7 * math.sqrt(31 / 14), -0.1 * math.sqrt(31 / 14)),
        # r̄ = 1/16 is below q, 15/16 above 1 − q
        ("+---------------", 0.0, 0.0),
        ("+++++++++++++++-", 0.0, 0.0),
        ("++", 0.0, None),
        ("---", None, 0.0),
        ("+", 0.0, None),
        ("-", None, 0.0),
    ],
)
def test_values_by_hand(pattern: str, positive: float, negative: float):
    expected = [positive if sign == "+" else negative for sign in pattern]
    assert advantages_of(SGRPO(), binary_group(pattern)) == pytest.approx(expected, rel=1e-6, abs=0)


def test_without_noise_it_is_grpo():
    expected = np.array([0.75, -0.25, -0.25, -0.25]) / 0.5
    assert advantages_of(SGRPO(noise_rate=0), binary_group("+---")) == pytest.approx(expected.tolist(), rel=1e-6)


def test_small_variances_show_each_epsilon():
    # r̄ = t = 10⁻⁵: the variances and the standard deviation come near the epsilons
    group, rate = binary_group("+" + 99_999 * "-"), 1e-5
    variance = rate * (1 - rate)
    std = math.sqrt(rate)
    expected = variance / (variance + 1e-8) * (1 - rate) / (std + 1e-8)
    assert advantages_of(SGRPO(noise_rate=0), group)[0] == pytest.approx(expected, rel=3e-7)
    # t = 10⁻⁸ in a group whose own variance is large
    noise_rate = (0.125 - 1e-8) / (1 - 2e-8)
    weight = (1 - 2 * noise_rate) * 1e-8 / math.sqrt((7 / 64 + 1e-8) * 2e-8)
    expected = weight * 0.875 / math.sqrt(1 / 8)
    assert advantages_of(SGRPO(noise_rate=noise_rate), binary_group("+-------"))[0] == pytest.approx(expected, rel=1e-6)
