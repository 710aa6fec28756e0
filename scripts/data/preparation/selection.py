"""Which rows of a split are kept, and why the others are not."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import track

from verl_nthr.errors import InputError

from .overlap import Evaluation, normalise
from .sets import MathSet, Problem, Row

KEPT_BY = {
    "duplicate": "duplicates",
    "other_answer": "duplicates",
    "unparsable": "unparsable",
    "overlap_exact": "overlap",
    "overlap_ngram": "overlap",
}
"""Reason → the ``--keep-…`` option that keeps such rows."""

Check = Callable[[Problem], tuple[str, str] | None]
"""Returns the reason not to keep a row, and a detail; None if it passes."""


@dataclass(frozen=True)
class Finding:
    """A row that did not pass a check."""

    row: Problem
    reason: str
    detail: str
    """With the other row where there is one."""


@dataclass(frozen=True)
class Settings:
    """The user's choice of rows."""

    levels: frozenset[int] | None = None
    """Levels of difficulty; None takes all."""

    keep: frozenset[str] = frozenset()
    """Of duplicates, unparsable and overlap, what is counted but not dropped."""

    samples: int | None = None
    """Rows to draw of those that pass every check; None takes all."""

    seed: int = 0
    """Of that draw."""


@dataclass
class Selection:
    """The rows of a split, each in the order of the source."""

    kept: list[Problem] = field(default_factory=list)
    dropped: list[Finding] = field(default_factory=list)
    """Every row that is not kept, once."""

    tolerated: list[Finding] = field(default_factory=list)
    """Findings in rows that are kept all the same."""

    @property
    def read(self) -> int:
        """Rows of the source."""
        return len(self.kept) + len(self.dropped)


def select(
    rows: Iterable[Row], math_set: MathSet, where: str, settings: Settings, evaluation: Evaluation | None
) -> Selection:
    """Check every row of ``math_set``'s source ``where``; none may be in ``evaluation``.

    Raises:
        InputError: a column or Math-Verify is missing.
    """

    def incomplete(each: Problem) -> tuple[str, str] | None:
        if settings.levels is not None and each.level not in settings.levels:
            return "level", f"level {each.level}"
        if not each.problem:
            return "no_problem", "empty"
        return None if each.answer else ("no_answer", "none was found in its columns")

    def unparsable(each: Problem) -> tuple[str, str] | None:
        return None if verifiable(each.answer) else ("unparsable", "scores 0 against itself")

    def overlap(each: Problem) -> tuple[str, str] | None:
        return evaluation.find(each.problem) if evaluation else None

    duplicate, other_answer = Repeated(same_answer=True), Repeated(same_answer=False)
    checks: list[Check] = [incomplete, duplicate, unparsable, other_answer, overlap]
    selection, console = Selection(), Console(stderr=True)
    shown = track(rows, "checking rows", console=console, transient=True, disable=not console.is_terminal)
    for index, row in enumerate(shown):
        if index == 0:
            math_set.check_columns(row, where)
        each = math_set.read(index, row)
        for check in checks:
            if found := check(each):
                finding = Finding(each, *found)
                if KEPT_BY.get(finding.reason) not in settings.keep:
                    selection.dropped.append(finding)
                    break
                selection.tolerated.append(finding)
        else:
            selection.kept.append(each)
    if settings.samples is not None and settings.samples < len(selection.kept):
        _draw(selection, settings.samples, settings.seed)
    return selection


class Repeated:
    """A check for problems that an earlier row has too: with the same answer, or with another."""

    def __init__(self, *, same_answer: bool) -> None:
        self._same_answer = same_answer
        self._first: dict[tuple[str, str], Problem] = {}

    def __call__(self, each: Problem) -> tuple[str, str] | None:
        first = self._first.setdefault((normalise(each.problem), each.answer if self._same_answer else ""), each)
        if first is each or (first.answer == each.answer) != self._same_answer:
            return None
        reason = "duplicate" if self._same_answer else "other_answer"
        return reason, f"row {first.index} has this problem too, with the answer {first.answer}"


@functools.cache
def verifiable(answer: str) -> bool:
    """Tell whether Math-Verify, called as verl's scorer calls it, finds ``answer`` equal to itself.

    Raises:
        InputError: it is not installed.
    """
    try:
        from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify
    except ImportError as error:
        raise InputError("Math-Verify, which checks the answers, is missing: pip install math-verify") from error
    box = rf"\boxed{{{answer}}}"
    truths = parse(box, [LatexExtractionConfig()])
    responses = parse(box, [ExprExtractionConfig(), LatexExtractionConfig()])
    return any(verify(truth, response) for response in responses for truth in truths)


def _draw(selection: Selection, samples: int, seed: int) -> None:
    drawn = set(random.Random(seed).sample(range(len(selection.kept)), samples))
    rest = [each for place, each in enumerate(selection.kept) if place not in drawn]
    selection.kept = [each for place, each in enumerate(selection.kept) if place in drawn]
    selection.dropped += [Finding(each, "not_drawn", f"--samples {samples}") for each in rest]
