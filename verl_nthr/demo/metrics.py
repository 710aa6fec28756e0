"""Reads verl's ``metrics.jsonl`` while it grows: one JSON object per step, ``{"step": ..., "data": {...}}``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import OnErrorOmit

from verl_nthr.json_lines import Integer, Record, check_record, parse_line

REWARD = "critic/score/mean"
EASED = "nthr/eased_fraction"
STEP_SECONDS = "timing_s/step"
ACCURACY_PREFIX, ACCURACY_SUFFIX = "val-core/", "/acc/mean@1"


@dataclass(frozen=True)
class Step:
    """One line of the file."""

    number: int
    """0 for the validation before training."""

    data: dict[str, float]
    """The finite numbers of the line."""

    @property
    def reward(self) -> float | None:
        """Mean reward of the step's responses; None in the line of the validation before training."""
        return self.data.get(REWARD)

    @property
    def eased(self) -> float | None:
        """Fraction of the wrong responses' tokens (in mixed groups) that NTHR eased."""
        return self.data.get(EASED)

    @property
    def accuracy(self) -> float | None:
        """Greedy accuracy on the unseen prompts, if this step validated."""
        for name, value in self.data.items():
            if name.startswith(ACCURACY_PREFIX) and name.endswith(ACCURACY_SUFFIX):
                return value
        return None

    def seconds(self, phase: str) -> float:
        """verl's ``timing_s/<phase>``, 0 where the step has none."""
        return self.data.get(f"timing_s/{phase}", 0.0)


class _Line(Record):
    step: Integer
    data: dict[str, OnErrorOmit[float]]


def parse_step(line: str, where: str) -> Step:
    """One line of the file; entries that are not finite numbers are left out.

    Args:
        line: the JSON text.
        where: names file and line in errors.

    Raises:
        InputError: no JSON object with an integer ``step`` and an object ``data``.
    """
    found = check_record(_Line, parse_line(line, where), where, "was the file written by verl's file logger?")
    return Step(found.step, found.data)


class MetricsTail:
    """Follows a file that verl is writing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._line = 0

    @property
    def exists(self) -> bool:
        """True from when verl opens its logger, that is when everything has started."""
        return self._path.is_file()

    def read_new(self) -> list[Step]:
        """The steps whose lines were completed since the last call; none while the file does not exist.

        Raises:
            InputError: a line is not what verl writes.
        """
        if not self.exists:
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            complete, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(complete) + len(newline)
        steps = []
        for line in complete.decode("utf-8", errors="replace").split("\n"):
            self._line += 1 if newline else 0
            if line.strip():
                steps.append(parse_step(line, f"{self._path}:{self._line}"))
        return steps
