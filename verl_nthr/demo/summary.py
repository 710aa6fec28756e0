"""The demo's final report: accuracies, seconds by phase, versions."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from verl_nthr.demo.metrics import Step
from verl_nthr.errors import InputError
from verl_nthr.text import on_one_line

STEP_PHASES = {
    "generation": ("gen",),
    "log-prob": ("old_log_prob",),
    "advantage": ("adv",),
    "update": ("update_actor", "update_critic", "values"),
    "weight transfer": ("update_weights",),
    "validation": ("testing",),
}
"""Names for people and the ``timing_s/*`` that they add up."""

GIGABYTE = 1e9


@dataclass(frozen=True)
class Summary:
    """The content of ``summary.json``."""

    estimator: str
    """``algorithm.adv_estimator``."""

    seed: int
    """Of everything that draws."""

    steps: int
    """Training steps."""

    workers: int
    """Training processes."""

    accuracy_before: float
    """Greedy, on the unseen prompts, before the training."""

    accuracy_after: float
    """The same after the last step."""

    seconds: dict[str, float]
    """By phase; ``total`` is their sum."""

    peak_memory_gb: float
    """Highest memory of all training processes together, in 10⁹ bytes, looked at every few seconds."""

    versions: dict[str, str | None]
    """Of Python and the packages."""


def accuracies(steps: list[Step]) -> tuple[float, float]:
    """Accuracy before the training and after the last step.

    Raises:
        InputError: verl did not validate both times.
    """
    found = [(step.number, step.accuracy) for step in steps if step.accuracy is not None]
    if len(found) < 2 or found[0][0] != 0:
        validated = ", ".join(str(number) for number, _ in found) or "none"
        raise InputError(f"verl validated at steps {validated}; expected 0 and the last one")
    return found[0][1], found[-1][1]


def seconds_by_phase(measured: dict[str, float], total: float, steps: list[Step]) -> dict[str, float]:
    """Seconds of each phase; ``other`` is the rest, ``total`` the sum.

    Args:
        measured: seconds that this process measured; ``validation`` is the one before the training.
        total: seconds of the whole demo.
        steps: with verl's own timings.
    """
    seconds = dict(measured)
    for phase, timings in STEP_PHASES.items():
        seconds[phase] = seconds.get(phase, 0.0) + sum(step.seconds(timing) for step in steps for timing in timings)
    seconds["other"] = total - sum(seconds.values())
    seconds["total"] = total
    return {phase: round(value, 2) for phase, value in seconds.items()}


def write_summary(summary: Summary, path: Path) -> None:
    """Write it as JSON."""
    path.write_text(json.dumps(asdict(summary), indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def render_summary(summary: Summary, files: dict[str, str]) -> Group:
    """Tables for the terminal; ``files`` are lines that name what was written."""
    accuracy = Table(title="Greedy accuracy on unseen prompts", title_justify="left", title_style="bold")
    for name in ("estimator", "before", "after", "change"):
        accuracy.add_column(name, justify="left" if name == "estimator" else "right")
    change = summary.accuracy_after - summary.accuracy_before
    accuracy.add_row(
        summary.estimator, f"{summary.accuracy_before:.1%}", f"{summary.accuracy_after:.1%}", f"{100 * change:+.1f} pp"
    )
    time = Table(title="Where the time went", title_justify="left", title_style="bold")
    time.add_column("phase")
    time.add_column("seconds", justify="right")
    time.add_column("share", justify="right")
    for phase, value in summary.seconds.items():
        if phase == "total":
            time.add_section()
        time.add_row(phase, f"{value:.1f}", f"{value / summary.seconds['total']:.0%}", style=None)
    lines = [Text(f"Peak memory of the training: {summary.peak_memory_gb:.1f} GB")]
    lines += [Text(f"{name}: {on_one_line(where)}") for name, where in files.items()]
    return Group(accuracy, Text(), time, Text(), *lines)
