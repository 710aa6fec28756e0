"""From the runs to means with confidence intervals over seeds, and to differences seed by seed."""

from __future__ import annotations

from typing import Any

import pandas as pd
from scipy import stats

BASELINE = "grpo"
CONFIDENCE = 0.95
WINDOW = 5
MEASURES = ("greedy_after", "pass_at_k_after", "share_negative", "delta_logp", "eased_fraction")
MONITOR = {"lld/share_negative": "share_negative", "lld/delta_logp/mean": "delta_logp"}
"""The monitor's entries of a step, by the names that they have here."""


def table_of_runs(results: list[dict[str, Any]]) -> pd.DataFrame:
    """A row for each run: task, method, seed, seconds, accuracies before and after, and :data:`MEASURES`.

    ``share_negative`` and ``delta_logp`` are the monitor's share of correct responses whose likelihood fell and its
    mean change of their log-likelihood, averaged over the steps that had correct responses; ``eased_fraction`` is
    averaged over all steps.
    """
    rows = []
    for result in results:
        rows.append(
            {
                **{name: result["settings"][name] for name in ("task", "method", "seed")},
                "seconds": result["seconds"],
                "greedy_before": result["greedy"][0][1],
                "greedy_after": result["greedy"][-1][1],
                "pass_at_k_before": result["pass_at_k"][0],
                "pass_at_k_after": result["pass_at_k"][1],
                **_steps(result).mean(),
            }
        )
    return pd.DataFrame(rows)


def summarise(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The output of ``--json``: by task, by method.

    Returns:
        ``tasks.<task>.<method>`` with ``seeds``, ``seconds`` (mean of a run), ``greedy_before``, ``pass_at_k_before``
        (means), an interval for each of :data:`MEASURES` and, if GRPO was run, ``minus_grpo``: an interval for the
        difference of each measure from GRPO's on the same seed, with ``seeds_above``. An interval is ``mean``, ``low``
        and ``high`` of :data:`CONFIDENCE` by Student's t over seeds; ``low`` and ``high`` are None for one seed, and
        all are None if no seed has the measure.
    """
    tasks: dict[str, Any] = {}
    for (task, method), runs in table_of_runs(results).groupby(["task", "method"], sort=False):
        tasks.setdefault(task, {})[method] = runs.set_index("seed").sort_index()
    return {"confidence": CONFIDENCE, "tasks": {task: _methods(methods) for task, methods in tasks.items()}}


def curve(results: list[dict[str, Any]], name: str, baseline: list[dict[str, Any]] | None = None) -> pd.DataFrame:
    """A curve over seeds: index step, columns mean, low, high.

    The monitor's curves are means over the last :data:`WINDOW` steps, since few responses of a step are correct.

    Args:
        results: the runs of one method.
        name: "greedy", or one of the values of :data:`MONITOR`.
        baseline: runs whose curves are subtracted seed by seed.
    """
    by_seed = _by_seed(results, name)
    if baseline is not None:
        by_seed = (by_seed - _by_seed(baseline, name)).dropna(how="all")
    return pd.DataFrame({step: interval(by_seed[step]) for step in by_seed}).T.astype(float)


def interval(values: pd.Series) -> dict[str, float | None]:
    """Mean of values over seeds with its confidence interval; seeds without a value are left out."""
    values = values.dropna()
    if values.empty:
        return {"mean": None, "low": None, "high": None}
    mean = float(values.mean())
    if len(values) < 2:
        return {"mean": mean, "low": None, "high": None}
    half = float(stats.sem(values) * stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return {"mean": mean, "low": mean - half, "high": mean + half}


def _steps(result: dict[str, Any]) -> pd.DataFrame:
    """A row for each step; a step without correct responses has no displacement."""
    steps = pd.DataFrame(result["steps"]).rename(columns=MONITOR)
    return steps.reindex(columns=["eased_fraction", *MONITOR.values()])


def _by_seed(results: list[dict[str, Any]], name: str) -> pd.DataFrame:
    """A row for each seed, a column for each step."""
    rows = {}
    for result in results:
        if name == "greedy":
            row = pd.Series(dict(result["greedy"]))
        else:
            row = _steps(result)[name].rolling(WINDOW, min_periods=1).mean().rename(lambda place: place + 1)
        rows[result["settings"]["seed"]] = row
    return pd.DataFrame(rows).T


def _methods(methods: dict[str, pd.DataFrame]) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for method, runs in methods.items():
        summary[method] = {
            "seeds": len(runs),
            **{name: float(runs[name].mean()) for name in ("seconds", "greedy_before", "pass_at_k_before")},
            **{name: interval(runs[name]) for name in MEASURES},
        }
        if method != BASELINE and BASELINE in methods:
            difference = (runs[list(MEASURES)] - methods[BASELINE][list(MEASURES)]).dropna(how="all")
            summary[method]["minus_grpo"] = {
                name: {**interval(difference[name]), "seeds_above": int((difference[name] > 0).sum())}
                for name in MEASURES
            }
    return summary
