"""Can the reward function tell that an answer is right?"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .errors import DataError

REWARD = Path(__file__).parents[1] / "reward.py"
AT_ONCE = 8
"""Answers in flight; verl's scorer has four processes."""


def unverifiable(answers: Iterable[str]) -> set[str]:
    """The answers that, given as a response, do not score 1 against themselves.

    Raises:
        DataError: the scorer is not installed.
    """
    from verl.utils.import_utils import load_extern_object

    try:
        compute_score = load_extern_object(str(REWARD), "compute_score")
    except ImportError as error:
        raise DataError(f"answers cannot be checked: {error}") from error
    distinct = list(dict.fromkeys(answers))

    def right(answer: str) -> bool:
        return compute_score("", rf"\boxed{{{answer}}}", answer)["score"] == 1

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return {answer for answer, is_right in zip(distinct, threads.map(right, distinct), strict=True) if not is_right}
