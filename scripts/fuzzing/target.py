"""What is fuzzed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis.strategies import SearchStrategy


@dataclass(frozen=True)
class Target:
    """A way into the package."""

    name: str
    """As ``--target`` and the table write it."""

    cases: SearchStrategy[Any]
    """Its input."""

    check: Callable[[Any], None]
    """Hands a case in, and asserts what has to hold of the result."""

    documented: tuple[type[Exception], ...] = ()
    """What the package may raise; subclasses are not meant."""

    share: float = 1.0
    """Of the time, relative to the other targets."""
