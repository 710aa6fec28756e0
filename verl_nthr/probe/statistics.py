"""From the results of all groups to the numbers of the report."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from verl_nthr.probe.groups import Result, Variants

TOP_K = (10, 15)
CORRELATIONS = ("nthr", "entropy", "neg_log_prob")


def summarise(results: list[Result]) -> dict[str, Any]:
    """The output of ``--json``.

    Args:
        results: at least one.

    Returns:
        ``groups``; ``variants`` by name with ``mean_delta``, ``share_negative``, the mean difference from GRPO group by
        group ``mean_gain``, the standard errors ``sem_delta`` and ``sem_gain``, and ``weights_moved``; the shares of
        groups ``nthr_beats_grpo``, ``nthr_beats_random`` and ``random_beats_grpo``; ``mean_success_rate``;
        ``eased_fraction``; ``gwhes_overlap`` and ``gwhes_overlap_random`` by K, None where there are fewer than K
        groups; ``gwhes_rank_correlation`` with −Δ(x) of GRPO; with the true effect ``true_effect``.
    """
    names = [name for name in Variants.model_fields if all(getattr(each.delta, name) is not None for each in results)]
    delta = {name: np.array([getattr(each.delta, name) for each in results]) for name in names}
    gwhes = np.array([each.gwhes for each in results])
    summary: dict[str, Any] = {
        "groups": len(results),
        "variants": {
            name: {
                "mean_delta": float(delta[name].mean()),
                "sem_delta": _standard_error(delta[name]),
                "share_negative": float((delta[name] < 0).mean()),
                "mean_gain": float((delta[name] - delta["grpo"]).mean()),
                "sem_gain": _standard_error(delta[name] - delta["grpo"]),
                "weights_moved": float(np.mean([getattr(each.weights_moved, name) for each in results])),
            }
            for name in names
        },
        "nthr_beats_grpo": float((delta["nthr"] > delta["grpo"]).mean()),
        "nthr_beats_random": float((delta["nthr"] > delta["random"]).mean()),
        "random_beats_grpo": float((delta["random"] > delta["grpo"]).mean()),
        "mean_success_rate": float(np.mean([each.success_rate for each in results])),
        "eased_fraction": _ratio(_total(results, "eased_tokens"), _total(results, "wrong_tokens")),
        "gwhes_overlap": {str(k): top_k_overlap(gwhes, delta["grpo"], k) for k in TOP_K},
        "gwhes_overlap_random": {str(k): k / len(results) if len(results) >= k else None for k in TOP_K},
        "gwhes_rank_correlation": spearman(gwhes, -delta["grpo"]),
    }
    if "exact" in names:
        summary["true_effect"] = _true_effect(results, summary["variants"])
    return summary


def top_k_overlap(gwhes: ArrayLike, delta: ArrayLike, k: int) -> float | None:
    """Share of the k groups of largest GWHES among the k of smallest Δ(x) (Table 1); None if there are fewer than k.

    At random it is k over the number of groups.
    """
    predicted, displaced = (np.argsort(values, kind="stable")[:k] for values in (-np.asarray(gwhes), np.asarray(delta)))
    return len(np.intersect1d(predicted, displaced)) / k if len(displaced) == k else None


def spearman(first: ArrayLike, second: ArrayLike) -> float | None:
    """Spearman's ρ of two [N]; None where it is not defined: one of them is constant, or N < 2."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        rho = float(stats.spearmanr(first, second).statistic)
    return None if math.isnan(rho) else rho


def _true_effect(results: list[Result], variants: dict[str, Any]) -> dict[str, Any]:
    """Mean rank correlations over groups, shares of tokens that harm, and NTHR's share of exact's gain on GRPO."""
    effects = [each.true_effect for each in results if each.true_effect is not None]
    known = {name: [rho for each in effects if (rho := getattr(each, name)) is not None] for name in CORRELATIONS}
    gain = variants["exact"]["mean_gain"]
    return {
        **{name: float(np.mean(values)) if values else None for name, values in known.items()},
        "eased_that_harm": _ratio(_total(effects, "harmful_eased"), _total(results, "eased_tokens")),
        "wrong_that_harm": _ratio(_total(effects, "harmful_tokens"), _total(results, "wrong_tokens")),
        "share_of_reachable_gain": variants["nthr"]["mean_gain"] / gain if gain > 0 else None,
        "methods": sorted({each.method for each in effects}),
    }


def _standard_error(values: NDArray[np.float64]) -> float | None:
    return float(stats.sem(values)) if len(values) > 1 else None


def _total(entries: list[Any], name: str) -> int:
    return sum(getattr(entry, name) for entry in entries)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
