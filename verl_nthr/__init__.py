"""Negative token hidden reward (NTHR, arXiv 2505.18830) for verl."""

from verl_nthr.version import __version__

__all__ = ["__version__"]
