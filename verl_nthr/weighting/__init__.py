"""Token weightings: pure torch, one rule a file. A weight multiplies the base advantage of its token."""

from verl_nthr.weighting.inputs import WeightingInputs
from verl_nthr.weighting.nthr import NTHR
from verl_nthr.weighting.random_tokens import RandomTokens
from verl_nthr.weighting.rule import Weighting
from verl_nthr.weighting.signs import Negative, Positive
from verl_nthr.weighting.thr import THR

WEIGHTINGS: dict[str, type[Weighting]] = {
    "nthr": NTHR,
    "thr": THR,
    "random": RandomTokens,
    "positive": Positive,
    "negative": Negative,
}
"""By the name that ``algorithm.nthr.weighting`` has for it."""

__all__ = ["NTHR", "THR", "WEIGHTINGS", "Negative", "Positive", "RandomTokens", "Weighting", "WeightingInputs"]
