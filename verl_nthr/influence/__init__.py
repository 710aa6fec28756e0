"""The maths of NTHR and THR in pure torch: features of response tokens → scores, anchors, thresholds, weights."""

from verl_nthr.influence.nthr import NTHRResult, nthr_weights
from verl_nthr.influence.reference import nthr_weights_reference, thr_weights_reference
from verl_nthr.influence.thr import THRResult, thr_weights

__all__ = [
    "NTHRResult",
    "THRResult",
    "nthr_weights",
    "nthr_weights_reference",
    "thr_weights",
    "thr_weights_reference",
]
