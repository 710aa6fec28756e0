"""From the rewards to the numbers of the report."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
from pydantic import ConfigDict, model_validator

from verl_nthr.evaluation.settings import Settings
from verl_nthr.evaluation.statistics import bootstrap, mean_of_shares, pass_at_k, wilson
from verl_nthr.json_lines import Integer, Record


class Group(Record):
    """The responses to one prompt, of which there is at least one."""

    model_config = ConfigDict(extra="forbid")

    responses: list[str]
    """Text, without special tokens."""

    tokens: list[Integer]
    """Length of each response, with the end-of-sequence token."""

    rewards: list[float]
    """One per response."""

    @model_validator(mode="after")
    def _has_all_of_each_response(self) -> Group:
        if not len(self.responses) == len(self.tokens) == len(self.rewards) > 0:
            raise ValueError("as many 'tokens' and 'rewards' as 'responses' are wanted, at least one")
        return self


def summarise(groups: dict[str, dict[str, list[Group]]], settings: Settings) -> dict[str, Any]:
    """The results of one model.

    Args:
        groups: by benchmark, by ``greedy`` and ``sampled``.
        settings: of the run.

    Returns:
        ``benchmarks``, by name: ``greedy`` with ``correct`` (responses), ``value`` (accuracy), its Wilson interval
        ``low`` and ``high``, ``mean_tokens`` and ``cut_off`` (share of responses as long as they may be); with samples
        ``sampled`` with ``mean_tokens``, ``cut_off`` and ``pass_at_k``, by K: ``value``, ``low``, ``high``.
        ``average``: the unweighted means over benchmarks, ``greedy`` (``value``, ``low``, ``high``) and ``pass_at_k``.
    """
    benchmarks: dict[str, Any] = {}
    greedy, sampled = [], []
    ks = settings.ks()
    for name, of_benchmark in groups.items():
        correct = _correct(of_benchmark["greedy"], settings)
        greedy.append(wilson(sum(correct), len(correct)))
        benchmarks[name] = {
            "greedy": {"correct": sum(correct), **greedy[-1], **_lengths(of_benchmark["greedy"], settings)}
        }
        if ks:
            correct = _correct(of_benchmark["sampled"], settings)
            sampled.append(np.array([[pass_at_k(settings.samples, hits, k) for hits in correct] for k in ks]))
            benchmarks[name]["sampled"] = {
                "pass_at_k": _by_k(ks, [sampled[-1]]),
                **_lengths(of_benchmark["sampled"], settings),
            }
    average: dict[str, Any] = {"greedy": mean_of_shares(greedy)}
    if ks:
        average["pass_at_k"] = _by_k(ks, sampled)
    return {"benchmarks": benchmarks, "average": average}


def _correct(groups: list[Group], settings: Settings) -> list[int]:
    """Number of correct responses to each prompt."""
    return [sum(reward >= settings.reward_threshold for reward in group.rewards) for group in groups]


def _by_k(ks: list[int], benchmarks: list[np.ndarray]) -> dict[str, Any]:
    return {str(k): estimate for k, estimate in zip(ks, bootstrap(benchmarks), strict=True)}


def _lengths(groups: list[Group], settings: Settings) -> dict[str, float]:
    tokens = [length for group in groups for length in group.tokens]
    return {
        "mean_tokens": statistics.fmean(tokens),
        "cut_off": statistics.fmean(length == settings.max_response_tokens for length in tokens),
    }
