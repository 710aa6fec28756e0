"""One assertion over many inputs, all of whose failures are reported at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from verl_nthr.errors import InputError

LONGEST = 1000


def failures(
    check: Callable[[Any], None], inputs: Iterable[Any], errors: tuple[type[Exception], ...] = ()
) -> list[str]:
    """The inputs for which ``check`` fails an assertion or raises one of ``errors``, each with its message."""
    found = []
    for given in inputs:
        try:
            check(given)
        except (AssertionError, *errors) as error:
            found.append(f"{str(given)[:100]!r}: {error}")
    return found


def wrong_refusals(read: Callable[[Any], object], cases: Iterable[tuple[Any, tuple[str, ...]]]) -> list[str]:
    """What is wrong with how ``read`` refuses each input: one line of bounded length has to name its facts."""
    wrong = []
    for given, facts in cases:
        shown = f"{str(given)[:100]!r}"
        try:
            read(given)
        except InputError as error:
            message = str(error)
            missing = [fact for fact in facts if fact not in message]
            if missing or "\n" in message or len(message) > LONGEST:
                wrong.append(f"{shown}: {missing} not in one line of {message[:LONGEST]!r}")
        else:
            wrong.append(f"{shown} is accepted")
    return wrong
