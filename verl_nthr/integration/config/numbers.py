"""Numbers of a configuration."""

from __future__ import annotations

import sys
from typing import Any


def is_number(value: Any) -> bool:
    """Tell whether ``value`` is an integer or float, finite and in the range of a float64."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
