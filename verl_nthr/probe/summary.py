"""From the results of all prompts to the numbers of the report."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

import torch
from pydantic import ConfigDict

from verl_nthr.json_lines import Integer, Record
from verl_nthr.probe.gwhes import top_k_overlap
from verl_nthr.probe.spearman import spearman

TOP_K = (10, 15)
CORRELATIONS = ("nthr", "entropy", "neg_log_prob")


class Variants(Record):
    """A number for each update of a prompt, and perhaps more updates."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float]

    grpo: float
    pos_only: float
    random: float
    nthr: float


class Result(Record):
    """The keys of a result that the summary needs."""

    name: str
    """Names the prompt."""

    success_rate: float
    """Share of correct responses."""

    gwhes: float
    """Mean over the correct responses."""

    wrong_tokens: Integer
    """Tokens of wrong responses."""

    eased_tokens: Integer
    """Tokens that NTHR selects."""

    delta: Variants
    """Δ(x)."""

    weights_moved: Variants
    """Share of the weights that the update moved."""


def summarise(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The output of ``--json``.

    Args:
        results: of :meth:`verl_nthr.probe.experiment.Experiment.measure`, at least one.

    Returns:
        ``groups``; ``variants`` by name with ``mean_delta``, ``share_negative``, the mean difference from GRPO
        prompt by prompt ``mean_gain``, the standard errors ``sem_delta`` and ``sem_gain``, and ``weights_moved``;
        the shares of prompts ``nthr_beats_grpo``, ``nthr_beats_random`` and ``random_beats_grpo``;
        ``mean_success_rate``; ``eased_fraction``; ``gwhes_overlap`` and ``gwhes_overlap_random`` by K, None where
        there are fewer than K prompts; ``gwhes_rank_correlation`` with −Δ(x) of GRPO; with the true effect
        ``true_effect``.
    """
    deltas = {name: [result["delta"][name] for result in results] for name in results[0]["delta"]}
    expected = [result["gwhes"] for result in results]
    summary: dict[str, Any] = {
        "groups": len(results),
        "variants": {name: _variant(name, values, deltas["grpo"], results) for name, values in deltas.items()},
        "nthr_beats_grpo": _share_above(deltas["nthr"], deltas["grpo"]),
        "nthr_beats_random": _share_above(deltas["nthr"], deltas["random"]),
        "random_beats_grpo": _share_above(deltas["random"], deltas["grpo"]),
        "mean_success_rate": statistics.fmean(result["success_rate"] for result in results),
        "eased_fraction": _ratio(results, lambda r: r["eased_tokens"], lambda r: r["wrong_tokens"]),
        "gwhes_overlap": {str(k): top_k_overlap(expected, deltas["grpo"], k) for k in TOP_K},
        "gwhes_overlap_random": {str(k): k / len(results) if len(results) >= k else None for k in TOP_K},
        "gwhes_rank_correlation": _gwhes_correlation(expected, deltas["grpo"]),
    }
    if "exact" in deltas:
        summary["true_effect"] = _true_effect(results, deltas)
    return summary


def _variant(
    name: str, values: list[float], grpo: list[float], results: list[dict[str, Any]]
) -> dict[str, float | None]:
    gains = [value - base for value, base in zip(values, grpo, strict=True)]
    return {
        "mean_delta": statistics.fmean(values),
        "sem_delta": _standard_error(values),
        "share_negative": sum(value < 0 for value in values) / len(values),
        "mean_gain": statistics.fmean(gains),
        "sem_gain": _standard_error(gains),
        "weights_moved": statistics.fmean(result["weights_moved"][name] for result in results),
    }


def _standard_error(values: list[float]) -> float | None:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def _true_effect(results: list[dict[str, Any]], deltas: dict[str, list[float]]) -> dict[str, Any]:
    """Mean rank correlations over prompts, shares of tokens that harm, and NTHR's share of exact's gain on GRPO."""
    effects = [result["true_effect"] for result in results]
    summary: dict[str, Any] = {
        name: _mean([effect[name] for effect in effects if effect[name] is not None]) for name in CORRELATIONS
    }
    summary["eased_that_harm"] = _ratio(
        results, lambda r: r["true_effect"]["harmful_eased"], lambda r: r["eased_tokens"]
    )
    summary["wrong_that_harm"] = _ratio(
        results, lambda r: r["true_effect"]["harmful_tokens"], lambda r: r["wrong_tokens"]
    )
    grpo, nthr, exact = (statistics.fmean(deltas[name]) for name in ("grpo", "nthr", "exact"))
    summary["share_of_reachable_gain"] = (nthr - grpo) / (exact - grpo) if exact > grpo else None
    summary["methods"] = sorted({effect["method"] for effect in effects})
    return summary


def _gwhes_correlation(expected: list[float], delta: list[float]) -> float | None:
    return spearman(torch.tensor(expected), -torch.tensor(delta, dtype=torch.float64))


def _share_above(first: list[float], second: list[float]) -> float:
    return sum(a > b for a, b in zip(first, second, strict=True)) / len(first)


def _ratio(
    results: list[dict[str, Any]], part: Callable[[dict[str, Any]], int], whole: Callable[[dict[str, Any]], int]
) -> float | None:
    total = sum(whole(result) for result in results)
    return sum(part(result) for result in results) / total if total else None


def _mean(values: list[float]) -> float | None:
    return statistics.fmean(values) if values else None
