"""How a cost grows with a size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PowerLaw:
    """cost ≈ c · size^exponent, by least squares on the logarithms."""

    exponent: float

    error: float | None
    """Standard error of the exponent; None with two points, which every line fits."""


def power_law(sizes: Sequence[float], costs: Sequence[float]) -> PowerLaw:
    """Fit the growth of positive ``costs`` with positive ``sizes``, of which at least two differ."""
    x, y = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    variation = math.fsum((value - mean_x) ** 2 for value in x)
    exponent = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / variation
    if len(x) < 3:
        return PowerLaw(exponent, None)
    left = math.fsum((b - mean_y - exponent * (a - mean_x)) ** 2 for a, b in zip(x, y, strict=True))
    return PowerLaw(exponent, math.sqrt(left / (len(x) - 2) / variation))
