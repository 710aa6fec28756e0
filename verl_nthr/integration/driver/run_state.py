"""What this package remembers from step to step of a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

ATTRIBUTE = "_nthr_run_state"


@dataclass
class RunState:
    """The memory of one run; it lives as long as the run's trainer."""

    has_checked_workers: bool = False
    """The workers have been asked whether they can do their part."""

    streaks: Counter[str] = field(default_factory=Counter)
    """Updates in a row that the condition of an alert has held for, by the alert's message."""


def run_state(trainer: Any) -> RunState:
    """Return the state of the run of a ``verl.trainer.ppo.v1.trainer_base.PPOTrainer``, made at the first call."""
    return vars(trainer).setdefault(ATTRIBUTE, RunState())
