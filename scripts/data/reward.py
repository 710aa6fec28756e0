"""The reward of every set here: verl's Math-Verify scorer, in the form that verl's custom reward functions have.

``reward.custom_reward_function.path=scripts/data/reward.py`` in the command of the training.
"""

from __future__ import annotations

import importlib.util
from typing import Any

if importlib.util.find_spec("math_verify") is None:
    raise ImportError(
        "scripts/data/reward.py needs Math-Verify, without which every score is 0: pip install math-verify"
    )

from verl.utils.reward_score import math_verify


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict[str, Any] | None = None, **_: Any
) -> dict[str, float]:
    """1.0 if the response's final answer equals the ground truth, else 0.0.

    0.0 too where either of the two cannot be parsed, or the comparison takes longer than 30 seconds.

    Returns:
        ``score``, which verl trains on, and ``acc``, which verl reports in validation.
    """
    right = math_verify.compute_score(solution_str, ground_truth)
    return {"score": right, "acc": right}
