"""The rules without statistics: PSR, NSR, W-REINFORCE, Reinforce-Rej."""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.advantages.groups import Group, advantages_of, batches, binary_group, check_by_group, reproducible
from verl_nthr.advantages import RULES


def mixed_only(group: Group) -> list[float]:
    kinds = {response.correct for response in group}
    return [(1.0 if response.correct else -1.0) if len(kinds) == 2 else 0.0 for response in group]


@reproducible
@given(groups=batches)
def test_any_groups_have_the_advantages_of_the_definitions(groups):
    check_by_group(RULES["psr"](), groups, lambda group: [float(response.correct) for response in group])
    check_by_group(RULES["nsr"](), groups, lambda group: [float(response.correct) - 1 for response in group])
    check_by_group(
        RULES["w_reinforce"](positive_weight=0.3), groups, lambda group: [0.3 if r.correct else -1.0 for r in group]
    )
    check_by_group(RULES["reinforce_rej"](), groups, mixed_only)


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("psr", "+--+", [1, 0, 0, 1]),
        ("psr", "---", [0, 0, 0]),
        ("nsr", "+--+", [0, -1, -1, 0]),
        ("nsr", "+++", [0, 0, 0]),
        ("w_reinforce", "+--+", [0.1, -1, -1, 0.1]),
        ("w_reinforce", "++", [0.1, 0.1]),
        ("w_reinforce", "-", [-1]),
        ("reinforce_rej", "+--+", [1, -1, -1, 1]),
        ("reinforce_rej", "++", [0, 0]),
        ("reinforce_rej", "--", [0, 0]),
        ("reinforce_rej", "+", [0]),
        ("reinforce_rej", "-", [0]),
    ],
)
def test_values_by_hand(name: str, pattern: str, expected: list[float]):
    assert advantages_of(RULES[name](), binary_group(pattern)) == pytest.approx(expected, rel=1e-7, abs=0)
