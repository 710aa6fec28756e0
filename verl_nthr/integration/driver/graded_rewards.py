"""Warning of rewards of several values where correctness is read off the reward."""

from __future__ import annotations

import warnings
from collections.abc import Iterable


def warn_of_graded_rewards(number: int, threshold: float, entries: Iterable[str], *, knows_advantage: bool) -> None:
    """Warn of a batch with more than two different rewards.

    Args:
        number: of different rewards.
        threshold: ``algorithm.nthr.reward_threshold``.
        entries: of the reward's extra info.
        knows_advantage: whether ``algorithm.nthr.metric=advantage`` is an answer.
    """
    names = ", ".join(sorted(entries)) or "none here"
    other = ", or to advantage: then those with a base advantage above 0 are" if knows_advantage else ""
    warnings.warn(
        f"algorithm.nthr.metric=reward: a batch has {number} different rewards, and every response with at least "
        f"algorithm.nthr.reward_threshold={threshold} counts as correct, any other as wrong. Set algorithm.nthr.metric "
        f"to an entry of the reward's extra info that says which are correct ({names}){other}",
        stacklevel=2,
    )
