"""The maths of NTHR in pure torch: features of response tokens → scores, anchors, thresholds, weights."""

from verl_nthr.influence.nthr import NTHRResult, nthr_weights
from verl_nthr.influence.reference import nthr_weights_reference

__all__ = ["NTHRResult", "nthr_weights", "nthr_weights_reference"]
