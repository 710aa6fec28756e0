"""Estimates with their confidence intervals. Axes: N prompts, K values of K."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

Estimate = dict[str, Any]
"""``value`` and the ends ``low`` and ``high`` of its interval, None where there is none."""

CONFIDENCE = 0.95
RESAMPLES = 2000
BATCH = 200
"""Resamples at a time: bounds the memory."""


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Unbiased estimate of the probability that one of ``k`` samples is correct (Chen et al. 2021, Eq. 1).

        1 − C(n − c, k) / C(n, k)

    (arXiv 2107.03374), in exact integers until the last division.

    Args:
        samples: n, at least ``k``.
        correct: c, how many of them are correct.
        k: from 1.

    Raises:
        ValueError: ``k`` is not between 1 and n, or c not between 0 and n.
    """
    if not (1 <= k <= samples and 0 <= correct <= samples):
        raise ValueError(f"pass@{k} of {correct} correct among {samples} samples is not defined")
    return 1.0 - math.comb(samples - correct, k) / math.comb(samples, k)


def wilson(correct: int, prompts: int) -> Estimate:
    """A share with Wilson's score interval, without continuity correction (Wilson 1927)."""
    interval = stats.binomtest(correct, prompts).proportion_ci(CONFIDENCE, method="wilson")
    return {"value": correct / prompts, "low": float(interval.low), "high": float(interval.high)}


def mean_of_shares(shares: Sequence[Estimate]) -> Estimate:
    """The unweighted mean of independent shares, with the interval that their own intervals imply.

        mean − √Σ(s − low)² / B,  mean + √Σ(high − s)² / B      over B shares s

    (MOVER, Zou and Donner 2008; doi 10.1002/sim.3095). Unlike a bootstrap, it has a width where all shares are 0 or 1.
    """
    value = sum(share["value"] for share in shares) / len(shares)
    below, above = (
        math.hypot(*(share[end] - share["value"] for share in shares)) / len(shares) for end in ("low", "high")
    )
    return {"value": value, "low": value - below, "high": value + above}


def bootstrap(benchmarks: Sequence[np.ndarray]) -> list[Estimate]:
    """Mean over benchmarks of the mean over prompts, with its percentile bootstrap interval over prompts.

    Prompts are drawn with replacement within each benchmark; the draws are the same in every call.

    Args:
        benchmarks: for each a [K, N] of values of its prompts; K is the same for all.

    Returns:
        ``value``, ``low`` and ``high`` for each of K; the latter are None where a benchmark has a single prompt.
    """
    values = _mean(*benchmarks, axis=-1)
    if min(each.shape[1] for each in benchmarks) < 2:
        return [{"value": float(value), "low": None, "high": None} for value in values]
    interval = stats.bootstrap(
        tuple(benchmarks),
        _mean,
        axis=-1,
        n_resamples=RESAMPLES,
        batch=BATCH,
        confidence_level=CONFIDENCE,
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return [
        {"value": float(value), "low": float(low), "high": float(high)}
        for value, low, high in zip(values, interval.low, interval.high, strict=True)
    ]


def _mean(*benchmarks: np.ndarray, axis: int) -> np.ndarray:
    return np.mean([values.mean(axis=axis) for values in benchmarks], axis=0)
