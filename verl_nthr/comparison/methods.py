"""The token advantages of each method. Axes: R responses, L tokens of the longest one, T tokens of all, V, D."""

from __future__ import annotations

import torch
from torch import Tensor

from verl_nthr.comparison.batch import Batch
from verl_nthr.comparison.errors import ComparisonError
from verl_nthr.comparison.policy import Record
from verl_nthr.influence import nthr_weights
from verl_nthr.integration.functions import advantages
from verl_nthr.probe.variants import positive_only, select_random

OWN = ("nthr", "nthr_random", "pos_only")
"""Methods that are not in verl's registry, or only with what its trainer hands over."""


def check_method(method: str) -> None:
    """Try a method on a small group.

    Raises:
        ComparisonError: verl has no such estimator, or it needs more than rewards and groups.
    """
    if method in OWN:
        return
    try:
        advantages(method, torch.tensor([0.0, 1.0]), torch.ones(2, 1, dtype=torch.bool), torch.zeros(2).long())
    except (TypeError, ValueError, KeyError, AssertionError) as error:
        raise ComparisonError(
            f"--estimators {method}: verl has no such estimator, or it needs more than rewards and groups ({error}); "
            f"use {', '.join(OWN)} or one of verl's as grpo, rloo, grpo_passk"
        ) from error


def token_advantages(
    method: str, batch: Batch, record: Record, unembedding: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Advantages [R, L] of a method, and which tokens have a reduced penalty [R, L] bool.

    Args:
        method: one of :data:`OWN`, or an estimator of verl.
        batch: the responses.
        record: of the batch at the old policy.
        unembedding: [V, D] weight of the output layer.
        generator: of the random choice of tokens.

    Raises:
        ValueError: there is no such method.
    """
    none = torch.zeros_like(batch.mask)
    base = advantages("grpo" if method in OWN else method, batch.correct, batch.mask, batch.group)
    if method not in OWN:
        return base, none
    if method == "pos_only":
        return positive_only(base), none
    response = torch.arange(len(batch.mask)).repeat_interleave(batch.mask.sum(1))
    result = nthr_weights(
        record.hidden[batch.mask],
        batch.token_ids[batch.mask],
        record.log_probs.detach()[batch.mask],
        response,
        batch.group,
        batch.correct,
        unembedding,
    )
    selected = result.selected if method == "nthr" else select_random(result.selected, response, generator)
    eta = result.eta[batch.group[response]]
    weight = torch.ones_like(base).masked_scatter(batch.mask, torch.where(selected, eta, 1.0))
    return base * weight, none.masked_scatter(batch.mask, selected)
