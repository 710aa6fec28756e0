"""The demo's reward function, in the form that verl's ``reward.custom_reward_function`` takes."""

from __future__ import annotations

from typing import Any

from verl_nthr.demo.arithmetic import final_answer


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict[str, Any] | None = None, **_: Any
) -> dict[str, float]:
    """1.0 if the final answer is right, else 0.0, whatever the steps before it.

    Returns:
        ``score``, which verl trains on, and ``acc``, which makes verl report the accuracy in validation.
    """
    right = float(final_answer(solution_str) == ground_truth)
    return {"score": right, "acc": right}
