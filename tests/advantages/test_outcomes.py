"""Statistics of groups against numpy."""

from __future__ import annotations

import numpy as np
from hypothesis import given

from tests.advantages.groups import batches, binary_group, outcomes_of, reproducible


@reproducible
@given(groups=batches)
def test_statistics_are_those_of_numpy(groups):
    outcomes = outcomes_of(groups)
    rewards = [np.array([response.reward for response in group]) for group in groups]
    for statistic, expected in (
        (outcomes.sums, np.sum),
        (outcomes.means, np.mean),
        (outcomes.maxima, np.max),
        (outcomes.stds, lambda values: np.std(values, ddof=1) if len(values) > 1 else 0.0),
    ):
        wanted = [expected(values) for values in rewards]
        np.testing.assert_allclose(statistic(outcomes.rewards).numpy(), wanted, rtol=1e-12, atol=1e-15)


def test_counts_of_groups():
    outcomes = outcomes_of([binary_group(pattern) for pattern in ("+--", "++", "--", "+", "-")])
    assert outcomes.num_groups == 5
    assert outcomes.sizes.tolist() == [3, 2, 2, 1, 1]
    assert outcomes.num_correct.tolist() == [1, 2, 0, 1, 0]
    assert outcomes.mixed.tolist() == [True, False, False, False, False]
