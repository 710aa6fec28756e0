"""A reward function that an untrained model earns about half the time, so that groups are mixed."""

from __future__ import annotations

from typing import Any


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict[str, Any] | None = None, **_: Any
) -> dict[str, float]:
    """1.0 if the response has an even number of digits, else 0.0.

    Returns:
        ``score``, which verl trains on, and ``acc``, which verl reports in validation.
    """
    even = float(sum(character.isdigit() for character in solution_str) % 2 == 0)
    return {"score": even, "acc": even}
