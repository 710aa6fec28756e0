"""Settings of a run of the comparison."""

from __future__ import annotations

from dataclasses import dataclass

from verl_nthr.demo.arithmetic import FOUR_DIGITS, THREE_DIGITS, Task
from verl_nthr.demo.settings import LEARNING_RATE, PROMPTS_PER_STEP, RESPONSES_PER_PROMPT

TASKS: dict[str, Task] = {"demo": THREE_DIGITS, "hard": FOUR_DIGITS}
STEPS = {"demo": 20, "hard": 30}
METHODS = ("grpo", "nthr", "nthr_random", "pos_only")


@dataclass(frozen=True)
class Settings:
    """One training run."""

    task: str
    """Key of :data:`TASKS`."""

    method: str
    """Name of the estimator, or a pair such as ``ngrpo+nthr``."""

    seed: int
    """Of the additions, the model, the warm-up and the sampling; the methods of one seed start alike."""

    steps: int
    """Training steps, one update each."""

    learning_rate: float = float(LEARNING_RATE)
    """Of AdamW, constant, with verl's other defaults."""

    prompts: int = PROMPTS_PER_STEP
    """Prompts per step."""

    responses: int = RESPONSES_PER_PROMPT
    """Responses to each prompt."""

    evaluate_every: int = 2
    """Steps between greedy evaluations; the last step is always evaluated."""

    pass_k: int = 8
    """k of Pass@k, before the first and after the last step."""
