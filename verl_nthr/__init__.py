"""Negative token hidden reward (NTHR, arXiv 2505.18830) for verl."""

from verl_nthr.influence import NTHRResult, nthr_weights, nthr_weights_reference
from verl_nthr.version import __version__

__all__ = ["NTHRResult", "__version__", "nthr_weights", "nthr_weights_reference"]
