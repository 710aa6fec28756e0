"""Runs a target for a time, and shrinks what makes it crash."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity

from fuzzing.target import Target
from verl_nthr.text import printable, shortened

ROOT = Path(__file__).parents[2]
SOURCES = tuple(str(ROOT / folder) for folder in ("verl_nthr", "scripts"))
CASES_A_ROUND = 200
EXAMPLE_CHARACTERS = 2000
SHRINKING_SECONDS = 20.0


@dataclass(frozen=True)
class Crash:
    """An error that is not documented, or a result that breaks a promise."""

    target: str
    """Name of the target."""

    error: str
    """Type and message."""

    where: str
    """The last line of the package that it passed through."""

    example: str
    """The smallest input found."""


@dataclass
class Tally:
    """What came of a target."""

    cases: int = 0
    """Inputs tried, without those of the search for a smaller one."""

    rejected: int = 0
    """Of them, answered with a documented error."""

    seconds: float = 0.0
    """Time spent."""

    crashes: dict[str, Crash] = field(default_factory=dict)
    """By error and place, each once."""


def run_target(target: Target, seconds: float, seed: int) -> Tally:
    """Try a target for ``seconds``, and longer only to shrink what was found."""
    tally, begin, number = Tally(), time.monotonic(), 0
    while time.monotonic() < begin + seconds:
        _run_round(target, begin + seconds, seed * 1_000_003 + number, tally)
        number += 1
    tally.seconds = time.monotonic() - begin
    return tally


def _run_round(target: Target, end: float, seed: int, tally: Tally) -> None:
    found: list[tuple[str, Crash]] = []
    shrunk_until = [0.0]

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=CASES_A_ROUND,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
    )
    @hypothesis.given(target.cases)
    def attempt(case: Any) -> None:
        if not found:
            if tally.cases and time.monotonic() > end:
                return
            tally.cases += 1
        elif time.monotonic() > shrunk_until[0]:
            return
        try:
            target.check(case)
        except Exception as error:
            if type(error) in target.documented and is_own(error):
                tally.rejected += not found
                return
            where = _where(error)
            key = f"{type(error).__name__} {where}"
            if key in tally.crashes:
                return
            message = printable(shortened(f"{type(error).__name__}: {error}", EXAMPLE_CHARACTERS))
            shrunk_until[0] = shrunk_until[0] or time.monotonic() + SHRINKING_SECONDS
            found.append((key, Crash(target.name, message, where, _example(case))))
            raise

    try:
        attempt()
    except Exception:
        if not found:
            raise
        key, crash = min(reversed(found), key=lambda each: len(each[1].example))
        tally.crashes[key] = crash


def is_own(error: Exception) -> bool:
    """Whether the package itself raises the error, and no library that it calls."""
    frames = traceback.extract_tb(error.__traceback__)
    return frames[-1].filename.startswith(SOURCES)


def _where(error: Exception) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(SOURCES)]
    return f"{Path(frames[-1].filename).relative_to(ROOT)}:{frames[-1].lineno}"


def _example(case: Any) -> str:
    try:
        text = repr(case)
    except (ValueError, RecursionError):
        text = f"{type(case).__name__} that has no repr"
    return printable(shortened(text, EXAMPLE_CHARACTERS))
