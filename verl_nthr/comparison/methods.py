"""The token advantages of each method. Axes: R responses, L tokens of the longest one, T tokens of all, V, D."""

from __future__ import annotations

import torch
from torch import Tensor

from verl_nthr.advantages import GroupRewards
from verl_nthr.comparison.batch import Batch, Record
from verl_nthr.errors import InputError
from verl_nthr.influence.batch import batch_influence
from verl_nthr.influence.selection import success_rates
from verl_nthr.integration.config.estimators import BASES, DR_GRPO, ESTIMATORS, Estimator
from verl_nthr.integration.config.options import AlgorithmOptions
from verl_nthr.integration.driver.base_advantage import share_of_kept
from verl_nthr.integration.functions import advantages
from verl_nthr.weighting import WEIGHTINGS, Weighting, WeightingInputs

OPTIONS = AlgorithmOptions()


def parse_method(method: str) -> Estimator:
    """An estimator of this package or of verl by its name, or a pair such as ``ngrpo+nthr``: base and weighting.

    Raises:
        InputError: there is none, or it needs more than rewards and groups.
    """
    base, plus, weighting = method.partition("+")
    if plus:
        if base not in BASES or weighting not in WEIGHTINGS:
            raise InputError(
                f"--estimators {method}: a pair is one of {', '.join(BASES)}, a plus, one of {', '.join(WEIGHTINGS)}"
            )
        return Estimator(base, weighting)
    if method in ESTIMATORS:
        return ESTIMATORS[method]
    try:
        advantages(method, torch.tensor([0.0, 1.0]), torch.ones(2, 1, dtype=torch.bool), torch.zeros(2).long())
    except (TypeError, ValueError, KeyError, AssertionError) as error:
        raise InputError(
            f"--estimators {method}: there is no such estimator, or it needs more than rewards and groups ({error}); "
            f"use {', '.join(ESTIMATORS)} or one of verl's, such as grpo, rloo or grpo_passk"
        ) from error
    return Estimator(method)


def token_advantages(
    method: str, batch: Batch, record: Record, unembedding: Tensor, seed: int
) -> tuple[Tensor, Tensor]:
    """Advantages [R, L] of a method, and which tokens its weighting reduces [R, L] bool.

    Args:
        method: as for :func:`parse_method`.
        batch: the responses.
        record: of the batch at the old policy.
        unembedding: [V, D] weight of the output layer.
        seed: of a random choice of tokens.

    Raises:
        InputError: there is no such method.
    """
    estimator = parse_method(method)
    base = _base(estimator.base, batch, record)
    weighting = OPTIONS.weighting(estimator.weighting)
    if weighting is None:
        return base, torch.zeros_like(batch.mask)
    weights = weighting.weights(_responses(weighting, base, batch, record, unembedding, seed))
    return base * weights, weights < 1


def _base(name: str, batch: Batch, record: Record) -> Tensor:
    rule, rewards = OPTIONS.rule(name), batch.correct.float()
    if name == DR_GRPO:
        return advantages("grpo", rewards, batch.mask, batch.group, norm_adv_by_std_in_grpo=False)
    if rule is None:
        return advantages(name, rewards, batch.mask, batch.group)
    lengths = batch.mask.sum(1)
    mean_log_prob = record.log_probs.detach().sum(1) / lengths
    base = rule(GroupRewards(rewards, batch.correct, batch.group, mean_log_prob, lengths))[:, None] * batch.mask
    return base / share_of_kept(base, batch.mask, "token-mean") if rule.drops_rows else base


@torch.no_grad()
def _responses(
    weighting: Weighting, base: Tensor, batch: Batch, record: Record, unembedding: Tensor, seed: int
) -> WeightingInputs:
    groups = int(batch.group.max()) + 1
    rate = success_rates(batch.group, batch.correct, groups)
    score, threshold = torch.full_like(base, torch.nan), torch.full((groups,), torch.nan)
    if weighting.is_scored:
        response = torch.arange(len(batch.mask)).repeat_interleave(batch.mask.sum(1))
        influence = batch_influence(
            record.hidden[batch.mask],
            batch.token_ids[batch.mask],
            record.log_probs.detach()[batch.mask],
            response,
            batch.group,
            batch.correct,
            unembedding,
            bias=None,
            temperature=1.0,
            beta=OPTIONS.nthr.beta,
            vocabulary=OPTIONS.nthr.vocabulary,
            anchor_includes_self=OPTIONS.nthr.anchor_includes_self,
            length_normalised=weighting.length_normalised,
        )
        mixed = influence.mixed[batch.group]
        score = score.masked_scatter(batch.mask, influence.scores).masked_fill(~mixed[:, None], torch.nan)
        threshold = influence.threshold
    return WeightingInputs(base, score, threshold[batch.group], batch.correct, rate[batch.group], seed)
