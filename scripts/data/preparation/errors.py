"""What the data preparation tells its user instead of a traceback."""

from __future__ import annotations


class DataError(Exception):
    """Data cannot be prepared as asked; the message names the option or file, the value and the way out."""
