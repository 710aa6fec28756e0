"""Which rows of a split are kept, and why the others are not."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from .math_set import MathSet, Problem, Row
from .normalisation import normalise
from .overlap import Evaluation
from .verification import unverifiable

KEPT_BY = {
    "duplicate": "duplicates",
    "other_answer": "duplicates",
    "unparsable": "unparsable",
    "overlap_exact": "overlap",
    "overlap_ngram": "overlap",
}
"""By reason, the ``--keep-…`` option that keeps such rows."""


@dataclass(frozen=True)
class Finding:
    """What a check found in a row."""

    row: Problem
    """The row."""

    reason: str
    """Name of the check."""

    detail: str
    """What it found, with the other row where there is one."""


@dataclass(frozen=True)
class Settings:
    """What to select."""

    levels: frozenset[int] | None = None
    """Levels of difficulty; None takes all."""

    keep: frozenset[str] = frozenset()
    """Of duplicates, unparsable and overlap, what is counted but not dropped."""

    samples: int | None = None
    """How many rows to draw of those that pass every check; None takes all."""

    seed: int = 0
    """Of that draw."""


@dataclass
class Selection:
    """The rows of a split."""

    read: int = 0
    """Rows of the source."""

    kept: list[Problem] = field(default_factory=list)
    """In the source's order."""

    dropped: list[Finding] = field(default_factory=list)
    """Every row that is not kept, once."""

    tolerated: list[Finding] = field(default_factory=list)
    """Findings in rows that are kept all the same."""


def select(
    rows: Iterable[Row], math_set: MathSet, where: str, settings: Settings, evaluation: Evaluation | None
) -> Selection:
    """Check every row.

    Args:
        rows: of the source.
        math_set: whose columns they have.
        where: the source, for messages.
        settings: what to select.
        evaluation: problems that must not be among them, or None.

    Raises:
        DataError: a column is missing, or the scorer is.
    """
    selection = Selection()

    def passing(problems: Iterable[Problem], check: Callable[[Problem], tuple[str, str] | None]) -> Iterator[Problem]:
        for each in problems:
            if found := check(each):
                finding = Finding(each, *found)
                if KEPT_BY.get(finding.reason) not in settings.keep:
                    selection.dropped.append(finding)
                    continue
                selection.tolerated.append(finding)
            yield each

    def read() -> Iterator[Problem]:
        for index, row in enumerate(rows):
            if index == 0:
                math_set.check_columns(row, where)
            selection.read += 1
            yield math_set.read(index, row)

    selected = passing(read(), lambda each: _incomplete(each, settings.levels))
    candidates = list(passing(selected, Repeated(same_answer=True)))
    unparsable = unverifiable(each.answer for each in candidates)
    parsable = passing(
        candidates, lambda each: ("unparsable", "scores 0 against itself") if each.answer in unparsable else None
    )
    unique = passing(parsable, Repeated(same_answer=False))
    clean = passing(unique, lambda each: evaluation.find(each.problem) if evaluation else None)
    selection.kept = list(clean)
    _draw(selection, settings)
    return selection


class Repeated:
    """A check that finds the second and any further row with a problem."""

    def __init__(self, *, same_answer: bool) -> None:
        """Look for rows with the same answer too, or for those with another."""
        self._same_answer = same_answer
        self._first: dict[tuple[str, str], Problem] = {}

    def __call__(self, each: Problem) -> tuple[str, str] | None:
        """Name and detail of what was found."""
        first = self._first.setdefault((normalise(each.problem), each.answer if self._same_answer else ""), each)
        if first is each or (first.answer == each.answer) != self._same_answer:
            return None
        reason = "duplicate" if self._same_answer else "other_answer"
        return reason, f"row {first.index} has this problem too, with the answer {first.answer}"


def _incomplete(each: Problem, levels: frozenset[int] | None) -> tuple[str, str] | None:
    if levels is not None and each.level not in levels:
        return "level", f"level {each.level}"
    if not each.problem:
        return "no_problem", "empty"
    return None if each.answer else ("no_answer", "none was found in its columns")


def _draw(selection: Selection, settings: Settings) -> None:
    if settings.samples is None or settings.samples >= len(selection.kept):
        return
    drawn = set(random.Random(settings.seed).sample(range(len(selection.kept)), settings.samples))
    rest = [each for place, each in enumerate(selection.kept) if place not in drawn]
    selection.kept = [each for place, each in enumerate(selection.kept) if place in drawn]
    selection.dropped += [Finding(each, "not_drawn", f"--samples {settings.samples}") for each in rest]
