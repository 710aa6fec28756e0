"""Groups of responses, as plain values and as the rules see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from verl_nthr.advantages import AdvantageRule, GroupRewards


class Response(NamedTuple):
    correct: bool
    reward: float = 0.0
    mean_log_prob: float = -0.5
    length: int = 100


Group = Sequence[Response]

reproducible = settings(max_examples=100, deadline=None, derandomize=True)


def binary_group(pattern: str, **values) -> list[Response]:
    """Responses by "+" and "-", with the rewards 1 and 0."""
    return [Response(sign == "+", reward=float(sign == "+"), **values) for sign in pattern]


def group_rewards(groups: Sequence[Group], order: Sequence[int] | None = None) -> GroupRewards:
    """The responses of all groups, in the ``order`` given."""
    rows = [(index, *response) for index, group in enumerate(groups) for response in group]
    if order is not None:
        rows = [rows[place] for place in order]
    group, correct, rewards, log_probs, lengths = zip(*rows, strict=True) if rows else [()] * 5
    return GroupRewards(
        rewards=torch.tensor(rewards, dtype=torch.float32),
        correct=torch.tensor(correct, dtype=torch.bool),
        group=torch.tensor(group, dtype=torch.int64),
        mean_log_prob=torch.tensor(log_probs, dtype=torch.float32),
        lengths=torch.tensor(lengths, dtype=torch.int64),
    )


def advantages_of(rule: AdvantageRule, group: Group) -> list[float]:
    return rule(group_rewards([group])).tolist()


def check_by_group(rule: AdvantageRule, groups: Sequence[Group], expected: Callable[[Group], Sequence[float]]) -> None:
    """That ``rule`` gives the responses of every group what ``expected`` gives for the group alone."""
    wanted = np.concatenate([np.asarray(expected(group), dtype=np.float64) for group in groups])
    np.testing.assert_allclose(rule(group_rewards(groups)).double().numpy(), wanted, rtol=3e-7, atol=1e-9)


def shuffled(values: Tensor, order: Sequence[int]) -> Tensor:
    return values[torch.tensor(order, dtype=torch.int64)]


single = st.floats(-1.0, 1.0, width=32)
log_probs = st.one_of(
    st.floats(-1.0, 0.0, width=32), st.floats(-30.0, 0.0, width=32), st.sampled_from([0.0, -(2.0**-30), -1000.0])
)


def groups_of(correct: st.SearchStrategy[bool]) -> st.SearchStrategy[list[Response]]:
    response = st.builds(Response, correct, single, log_probs, st.one_of(st.integers(1, 4), st.integers(1, 4000)))
    return st.lists(response, min_size=1, max_size=8)


all_wrong, all_correct, any_group = groups_of(st.just(False)), groups_of(st.just(True)), groups_of(st.booleans())
batches = st.lists(st.one_of(any_group, all_wrong, all_correct), min_size=1, max_size=5)
