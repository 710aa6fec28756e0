"""User-facing errors."""

from __future__ import annotations


class InputError(ValueError):
    """The user can fix this: the message names the file or option, what is wrong with it, and the fix."""
