"""What a person can put right."""

from __future__ import annotations


class InputError(ValueError):
    """The input cannot be used; the message names what is wrong and the way out."""
