"""The reward of every set here: verl's Math-Verify scorer, in the form that verl's custom reward functions have.

``reward.custom_reward_function.path=scripts/data/reward.py`` in the command of the training.
"""

from __future__ import annotations

import functools
import importlib.util
from typing import Any

if importlib.util.find_spec("math_verify") is None:
    raise ImportError(
        "scripts/data/reward.py needs Math-Verify, without which every score is 0: pip install math-verify"
    )

from verl.utils.reward_score import math_verify

START_SECONDS = 600.0
"""For the first of the scorer's processes to start, on a busy machine."""


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict[str, Any] | None = None, **_: Any
) -> dict[str, float]:
    """1.0 if the response's final answer equals the ground truth, else 0.0.

    0.0 too where either of the two cannot be parsed, or the comparison takes longer than 30 seconds.

    Returns:
        ``score``, which verl trains on, and ``acc``, which verl reports in validation.

    Raises:
        RuntimeError: the scorer does not work at all.
    """
    _start()
    right = math_verify.compute_score(solution_str, ground_truth)
    return {"score": right, "acc": right}


@functools.cache
def _start() -> None:
    """Wait for the scorer's processes: verl gives 0 to what waits longer than 30 seconds for one."""
    if math_verify.compute_score(r"\boxed{1}", "1", timeout=START_SECONDS) != 1:
        raise RuntimeError(
            f"verl's Math-Verify scorer did not find 1 equal to 1 within {START_SECONDS:.0f} s; see its error above"
        )
