"""Spearman's rank correlation."""

from __future__ import annotations

import math
import warnings

from torch import Tensor


def spearman(first: Tensor, second: Tensor) -> float | None:
    """Spearman's ρ of two [N]; None where it is not defined: one of them is constant, or N < 2."""
    from scipy.stats import ConstantInputWarning, spearmanr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        rho = spearmanr(*(values.detach().double().cpu().numpy() for values in (first, second))).statistic
    return None if math.isnan(rho) else float(rho)
