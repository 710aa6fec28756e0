"""The demo's reward function, in the form that verl's ``reward.custom_reward_function`` takes."""

from __future__ import annotations

from typing import Any

from verl_nthr.demo.arithmetic import final_number


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict[str, Any] | None = None, **_: Any
) -> dict[str, float]:
    """1.0 if the final number is the sum, else 0.0, whatever the steps before it.

    Returns:
        ``score``, which verl trains on, and ``acc``, which makes verl report the accuracy in validation.
    """
    correct = float(final_number(solution_str) == ground_truth)
    return {"score": correct, "acc": correct}
