"""Negative token hidden reward (NTHR, arXiv 2505.18830) for verl."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from verl_nthr.version import __version__

if TYPE_CHECKING:
    from verl_nthr.influence import (
        NTHRResult,
        THRResult,
        nthr_weights,
        nthr_weights_reference,
        thr_weights,
        thr_weights_reference,
    )

__all__ = [
    "NTHRResult",
    "THRResult",
    "__version__",
    "nthr_weights",
    "nthr_weights_reference",
    "thr_weights",
    "thr_weights_reference",
]


def __getattr__(name: str) -> Any:
    """Import the maths, and torch with it, when it is first asked for: commands and the CPU platform need neither."""
    if name in __all__:
        return getattr(importlib.import_module("verl_nthr.influence"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
