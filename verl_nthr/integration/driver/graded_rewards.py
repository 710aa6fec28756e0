"""Warning of rewards of several values where correctness is read off the reward."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from verl_nthr.integration.driver.columns import read_extra_info

if TYPE_CHECKING:
    from transfer_queue import KVBatchMeta

    from verl_nthr.integration.config.estimators import Estimator

GRADED = "graded rewards"
"""Kind of the warning, among those that a run has given."""


def warn_of_graded_rewards(batch: KVBatchMeta, number: int, threshold: float, estimator: Estimator) -> None:
    """Warn of a batch with more than two different rewards.

    Args:
        batch: its extra info may have an entry to use instead.
        number: of different rewards.
        threshold: ``algorithm.nthr.reward_threshold``.
        estimator: of the run.
    """
    names = ", ".join(sorted({name for extra_info in read_extra_info(batch) for name in extra_info})) or "none here"
    other = "" if estimator.is_binary else ", or to advantage: then those with a base advantage above 0 are"
    warnings.warn(
        f"algorithm.nthr.metric=reward: a batch has {number} different rewards, and every response with at least "
        f"algorithm.nthr.reward_threshold={threshold} counts as correct, any other as wrong. Set algorithm.nthr.metric "
        f"to an entry of the reward's extra info that says which are correct ({names}){other}",
        stacklevel=2,
    )
