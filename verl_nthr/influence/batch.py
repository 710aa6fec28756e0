"""Scores, anchors and thresholds of a batch that one process holds, from hidden states."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from verl_nthr.influence.checks import check_tokens, temperature_of_tokens
from verl_nthr.influence.features import LMHeadRows, TokenFeatures
from verl_nthr.influence.scores import influence_scores
from verl_nthr.influence.selection import success_rates, thresholds
from verl_nthr.influence.vocabulary import GroupVocabulary, vocabulary_keys


@dataclass(frozen=True)
class BatchInfluence:
    """Influence of every token of a batch on the correct responses to its prompt.

    Attributes:
        scores: [T] float32, s_t; nan in groups that are not finite, 0 for tokens of padding rows.
        anchors: [R] float32, s̄⁺ of correct responses; nan for incorrect ones, for those without tokens, and in groups
            that are not finite.
        threshold: [groups] float32, τ = β · min s̄⁺, nan for a group without anchors.
        success_rate: [groups] float32, p = N⁺/G, nan for a group without responses.
        finite: [groups] bool, whether all that the scores of a group come from, and they themselves, are finite.
        group: [T] int64, prompt group of the token's response; −1 for tokens of padding rows.
        correct: [T] bool, of the token's response.
    """

    scores: Tensor
    anchors: Tensor
    threshold: Tensor
    success_rate: Tensor
    finite: Tensor
    group: Tensor
    correct: Tensor

    @property
    def mixed(self) -> Tensor:
        """[groups] bool, whether a group has correct and wrong responses."""
        return (self.success_rate > 0) & (self.success_rate < 1)

    @property
    def token_threshold(self) -> Tensor:
        """[T] float32, τ of the token's group, nan outside of mixed groups."""
        # the last entry stands for padding rows
        threshold = self.threshold.masked_fill(~self.mixed, torch.nan)
        return torch.cat([threshold, threshold.new_tensor([torch.nan])])[self.group]


def batch_influence(
    hidden: Tensor,
    token_ids: Tensor,
    log_probs: Tensor | None,
    response: Tensor,
    group: Tensor,
    correct: Tensor,
    unembedding: Tensor,
    *,
    bias: Tensor | None,
    temperature: float | Tensor,
    beta: float,
    vocabulary: str,
    anchor_includes_self: bool,
    length_normalised: bool,
) -> BatchInfluence:
    """Check the arguments of :func:`verl_nthr.nthr_weights` or :func:`verl_nthr.thr_weights`, and score the batch.

    Args:
        hidden, token_ids, log_probs, response, group, correct, unembedding, bias, temperature, beta, vocabulary,
            anchor_includes_self: as for :func:`verl_nthr.nthr_weights`; ``beta`` is checked already.
        length_normalised: as for :func:`verl_nthr.influence.scores.influence_scores`.

    Raises:
        ValueError: an argument has a wrong shape, dtype, range or option name; the message names it.
        IndexError: a token id, response index or group is out of range.
    """
    check_tokens(hidden, token_ids, log_probs, response, group, correct, unembedding, bias)
    response, group = response.long(), group.long()
    if vocabulary not in ("response", "full"):
        raise ValueError(f"vocabulary={vocabulary!r}: use 'response' or 'full'")
    temperature_T = temperature_of_tokens(temperature, response, group.shape[0])
    num_groups = int(group.max()) + 1 if group.numel() else 0
    vocab_size = unembedding.shape[0]

    token_group = group[response]
    counted = token_group >= 0
    hidden_T, token_ids_T, response_T = hidden[counted], token_ids[counted].long(), response[counted]
    temperature_T, group_T = temperature_T[counted], token_group[counted]
    rows = LMHeadRows(unembedding, bias)
    if log_probs is None:
        log_probs_T = _log_softmax(rows, hidden_T, token_ids_T, temperature_T)
    else:
        log_probs_T = log_probs[counted].float()
    log_normalizer_T = rows.label_logits(hidden_T, token_ids_T) / temperature_T - log_probs_T
    features = TokenFeatures(hidden_T, token_ids_T, log_probs_T, log_normalizer_T, temperature_T, response_T, group_T)
    if vocabulary == "full":
        entries = GroupVocabulary.whole(num_groups, vocab_size, hidden.device)
    else:
        keys = vocabulary_keys(group_T, token_ids_T, vocab_size)
        entries = GroupVocabulary.from_keys(keys, num_groups, vocab_size)
    found = influence_scores(
        features,
        rows,
        entries,
        group,
        correct & (group >= 0),
        anchor_includes_self=anchor_includes_self,
        length_normalised=length_normalised,
    )
    return BatchInfluence(
        scores=hidden.new_zeros(hidden.shape[0], dtype=torch.float32).masked_scatter_(counted, found.scores),
        anchors=found.anchors,
        threshold=thresholds(found.anchors, group, num_groups, beta),
        success_rate=success_rates(group, correct, num_groups),
        finite=found.finite,
        group=token_group,
        correct=correct[response],
    )


def _log_softmax(rows: LMHeadRows, hidden: Tensor, token_ids: Tensor, temperature: Tensor, chunk: int = 1024) -> Tensor:
    """[T] float32: log softmax(logits / temperature)[token] over the whole vocabulary, ``chunk`` tokens at a time.

    The softmax is taken in float64, so that 1 − π keeps its relative precision where π is close to 1.
    """
    weight = rows.weight.double()
    bias = None if rows.bias is None else rows.bias.double()
    log_probs = hidden.new_empty(hidden.shape[0], dtype=torch.float32)
    for part in torch.arange(hidden.shape[0], device=hidden.device).split(chunk):
        logits = torch.nn.functional.linear(hidden[part].double(), weight, bias) / temperature[part, None]
        log_probs[part] = torch.log_softmax(logits, dim=-1).gather(1, token_ids[part, None])[:, 0].float()
    return log_probs
