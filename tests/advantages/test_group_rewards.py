"""Statistics of groups against numpy."""

from __future__ import annotations

import numpy as np
from hypothesis import given

from tests.advantages.groups import batches, binary_group, group_rewards, reproducible


@reproducible
@given(groups=batches)
def test_statistics_are_those_of_numpy(groups):
    batch = group_rewards(groups)
    rewards = [np.array([response.reward for response in group]) for group in groups]
    for statistic, expected in (
        (batch.sums, np.sum),
        (batch.means, np.mean),
        (batch.maxima, np.max),
        (batch.stds, lambda values: np.std(values, ddof=1) if len(values) > 1 else 0.0),
    ):
        wanted = [expected(values) for values in rewards]
        np.testing.assert_allclose(statistic(batch.rewards).numpy(), wanted, rtol=1e-12, atol=1e-15)


def test_counts_of_groups():
    batch = group_rewards([binary_group(pattern) for pattern in ("+--", "++", "--", "+", "-")])
    assert batch.num_groups == 5
    assert batch.sizes.tolist() == [3, 2, 2, 1, 1]
    assert batch.num_correct.tolist() == [1, 2, 0, 1, 0]
    assert batch.mixed.tolist() == [True, False, False, False, False]
