"""What a data set is: where, and which of its columns hold what."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import columns
from .errors import DataError

Reader = Callable[[Any], str]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Problem:
    """What is read from a row."""

    index: int
    """In the source, from 0."""

    problem: str
    """Without any instruction; empty if there is none."""

    answer: str
    """The ground truth; empty if there is none."""

    level: int | None
    """Of difficulty."""

    subject: str | None
    """Field of mathematics."""


@dataclass(frozen=True, eq=False)
class MathSet:
    """One data set."""

    name: str
    """As ``--sets`` and ``extra_info.source`` write it."""

    hub: str
    """Name on the Hugging Face hub."""

    splits: Mapping[str, str]
    """By split that is written (``train``, ``test``), the split on the hub."""

    problem: Mapping[str, Reader]
    """Columns that may hold the problem, the best first, and how each is read."""

    answer: Mapping[str, Reader]
    """Columns that may hold the answer, the best first, and how each is read."""

    data_source: str
    """verl's key of metrics in validation, and of its own scorer where it has one for this set."""

    config: str | None = None
    """Configuration on the hub, where there are several."""

    context: str | None = None
    """Column of a text that goes before the problem where it is not empty."""

    level: str | None = None
    """Column of the level of difficulty, as a number or as MATH's "Level 3"."""

    subject: str | None = None
    """Column of the field of mathematics."""

    def check_columns(self, row: Row, where: str) -> None:
        """Raise where a row has no column for the problem or the answer.

        Raises:
            DataError: with the columns that are there and those that are sought.
        """
        for what, readers in (("problem", self.problem), ("answer", self.answer)):
            if not readers.keys() & row.keys():
                raise DataError(
                    f"{where} has no column for the {what} of {self.name}: it has {', '.join(row)}; name the one that "
                    f"holds it {' or '.join(readers)}, or give another --source"
                )

    def read(self, index: int, row: Row) -> Problem:
        """What the row holds.

        Args:
            index: of the row in the source.
            row: by column.
        """
        problem, context = _first(row, self.problem), columns.text(row.get(self.context))
        digits = re.search(r"(?<!\d)\d{1,9}(?!\d)", columns.text(row.get(self.level)))
        return Problem(
            index,
            f"{context}\n{problem}" if context and problem else problem,
            _first(row, self.answer),
            int(digits.group()) if digits else None,
            columns.text(row.get(self.subject)) or None,
        )


def _first(row: Row, readers: Mapping[str, Reader]) -> str:
    return next((reader(row[name]) for name, reader in readers.items() if row.get(name) is not None), "")
