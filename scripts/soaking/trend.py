"""Whether what was measured after every step grows with the steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

TOLERATED = 8192
"""Bytes of growth a step that count as none: 80 MB in 10,000 steps."""


@dataclass(frozen=True)
class Line:
    """value ≈ intercept + slope · step, by least squares."""

    slope: float

    error: float
    """Standard error of the slope, as if the residuals were independent."""


def fit_line(values: Sequence[float]) -> Line:
    """Fit values of steps that follow each other.

    Raises:
        ValueError: there are fewer than three.
    """
    count = len(values)
    if count < 3:
        raise ValueError(f"{count} values: a slope with its error takes at least 3")
    middle, mean = (count - 1) / 2, math.fsum(values) / count
    variation = math.fsum((step - middle) ** 2 for step in range(count))
    slope = math.fsum((step - middle) * (value - mean) for step, value in enumerate(values)) / variation
    left = math.fsum((value - mean - slope * (step - middle)) ** 2 for step, value in enumerate(values))
    return Line(slope, math.sqrt(left / (count - 2) / variation))


def memory_is_flat(line: Line) -> bool:
    """Whether bytes grow by less than :data:`TOLERATED` a step, or by less than two standard errors."""
    return line.slope < max(TOLERATED, 2 * line.error)


def count_is_flat(counts: Sequence[int]) -> bool:
    """Whether some count of the last quarter of the steps is as low as one of the first quarter."""
    quarter = max(1, len(counts) // 4)
    return min(counts[-quarter:]) <= max(counts[:quarter])
