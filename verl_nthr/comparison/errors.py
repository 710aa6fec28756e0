"""What a person can put right."""

from __future__ import annotations


class ComparisonError(ValueError):
    """The comparison cannot go on; the message says why and what to do."""
