"""What a value of a JSON file is, asked before anything is done with it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

LARGEST_INTEGER = 2**53
"""Up to here every reader of JSON holds integers exactly."""


def is_string(value: Any) -> bool:
    """A string."""
    return isinstance(value, str)


def is_integer(value: Any) -> bool:
    """An integer, not above :data:`LARGEST_INTEGER` in size."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_INTEGER


def is_number(value: Any, largest: float = sys.float_info.max) -> bool:
    """An integer or float, finite and not above ``largest`` in size."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= largest


def list_of(right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Whether something is a list whose entries are all ``right``."""
    return lambda value: isinstance(value, list) and all(map(right, value))
