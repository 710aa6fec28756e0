"""Rank correlation."""

from __future__ import annotations

import math

from torch import Tensor


def rank_correlation(first: Tensor, second: Tensor) -> float | None:
    """Spearman's ρ of two [N], ties sharing their mean rank; None where one of them is constant or N < 2."""
    import pandas as pd

    ranks = [pd.Series(values.detach().double().cpu().numpy()).rank() for values in (first, second)]
    if any(values.nunique() < 2 for values in ranks):
        return None
    rho = float(ranks[0].corr(ranks[1]))
    return None if math.isnan(rho) else rho
