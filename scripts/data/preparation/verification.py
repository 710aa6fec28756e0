"""Can the scorer tell that an answer is right?"""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.progress import track

from .errors import DataError


def unverifiable(answers: Iterable[str]) -> set[str]:
    """The answers that do not equal themselves for Math-Verify, called as verl's scorer calls it.

    Raises:
        DataError: it is not installed.
    """
    try:
        from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify
    except ImportError as error:
        raise DataError("Math-Verify, which checks the answers, is missing: pip install math-verify") from error

    def right(answer: str) -> bool:
        box = rf"\boxed{{{answer}}}"
        truths = parse(box, [LatexExtractionConfig()])
        responses = parse(box, [ExprExtractionConfig(), LatexExtractionConfig()])
        return any(verify(truth, response) for response in responses for truth in truths)

    distinct = list(dict.fromkeys(answers))
    console = Console(stderr=True)
    shown = track(distinct, "checking answers", console=console, transient=True, disable=not console.is_terminal)
    return {answer for answer in shown if not right(answer)}
