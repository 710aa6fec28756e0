"""Packages that only some commands need."""

from __future__ import annotations

import importlib.util

from verl_nthr.errors import InputError


def check_installed(*packages: str) -> None:
    """Check that packages of the extra ``demo`` are installed, so that a run fails early.

    Raises:
        InputError: some are not.
    """
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise InputError(f"not installed: {', '.join(missing)}; pip install 'verl-nthr[demo]'")
