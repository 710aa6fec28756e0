"""What a benchmark tells its user instead of a traceback."""

from __future__ import annotations


class BenchmarkError(Exception):
    """A benchmark cannot be run as asked; the message names the option, the value and the way out."""
