"""Influence scores s_t = g_tᵀ M⁺ h_t of response tokens (arXiv 2505.18830, Eq. 7 and App. 7.4).

Axes: T tokens of this process, D hidden size, V the group's vocabulary, R responses of the batch, G prompt groups.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.profiler import record_function

from verl_nthr.influence.features import OutputRows, TokenFeatures
from verl_nthr.influence.sharding import Sharding
from verl_nthr.influence.vocabulary import GroupVocabulary

# float32 elements: of one [tokens, V] block of prediction errors, and of the M⁺ of the groups reduced together
ERROR_BLOCK_ELEMENTS = 1 << 26
REDUCTION_ELEMENTS = 1 << 29


def influence_scores(
    features: TokenFeatures,
    rows: OutputRows,
    vocabulary: GroupVocabulary,
    correct: Tensor,
    sharding: Sharding,
    *,
    anchor_includes_self: bool = True,
) -> tuple[Tensor, Tensor]:
    """Scores of all tokens and anchors of all correct responses.

    With g_t = e_{y_t} − π_t restricted to the group's vocabulary (π is never renormalised) and
    M⁺ = Σ_{i correct} Σ_k g_{i,k} h_{i,k}ᵀ:

        s_t  = g_tᵀ M⁺ h_t                                     (Eq. 7 in the matrix form of App. 7.4)
        s̄⁺_i = (1/|y_i|) Σ_k s_{i,k}                           (Eq. 8)

    Eq. 8 includes i's influence on itself; with ``anchor_includes_self=False`` its sum is ⟨M_i, M⁺ − M_i⟩_F instead,
    with M_i = Σ_k g_{i,k} h_{i,k}ᵀ. A rank that owns a part of the vocabulary holds those rows of M⁺ and those
    coordinates of g; its scores are partial sums, which are added up over the ranks.

    Args:
        features: tokens of this rank; log Z and log π are those of the whole vocabulary.
        rows: the output layer at least at every entry of ``vocabulary`` that this rank owns.
        vocabulary: the same on every rank, whatever part of it the rank owns.
        correct: [R] bool, the same on every rank.
        sharding: the ranks that hold the other tokens and own the other entries.
        anchor_includes_self: see above.

    Returns:
        scores [T] float32 of this rank's tokens; anchors [R] float32, nan where incorrect or without tokens.
    """
    dim = features.hidden.shape[-1]
    scores_T = torch.zeros_like(features.log_probs)
    influence_R, counts_R = scores_T.new_zeros(2, correct.shape[0])
    with sharding.local_work():
        shard = sharding.vocabulary
        entries = vocabulary if shard is None else vocabulary.part(shard.start, shard.stop)
        tokens_by_group = _tokens_by_group(features.group, vocabulary.num_groups)
        is_correct_T = correct[features.response]
    sharding.agree(scores_T.device)
    if not anchor_includes_self:
        correct_by_group = _correct_responses(features, is_correct_T, correct.shape[0], vocabulary.num_groups, sharding)
    for groups in _reduction_chunks(vocabulary, dim):
        sizes = [entries.size(group) * dim for group in groups]
        flat = scores_T.new_zeros(sum(sizes))
        with sharding.local_work(), record_function("nthr.direction"):
            for group, block in zip(groups, flat.split(sizes), strict=True):
                tokens = tokens_by_group[group]
                _add_outer_products(block.view(-1, dim), features, tokens[is_correct_T[tokens]], rows, entries, group)
        sharding.sum_over_tokens(flat)
        for group, block in zip(groups, flat.split(sizes), strict=True):
            tokens, direction_VD = tokens_by_group[group], block.view(-1, dim)
            with sharding.local_work(), record_function("nthr.scores"):
                for part, hidden, errors in _prediction_errors(features, tokens, rows, entries, group):
                    scores_T[part] = torch.linalg.vecdot(errors, hidden @ direction_VD.T)
            if not anchor_includes_self:
                for response in correct_by_group[group]:
                    mine = tokens[features.response[tokens] == response]
                    influence_R[response] = _influence_of_others(
                        direction_VD, features, mine, rows, entries, group, sharding
                    )
    sharding.sum_over_vocabulary(scores_T)
    with sharding.local_work():
        counts_R.index_add_(0, features.response, torch.ones_like(scores_T))
        if anchor_includes_self:
            influence_R.index_add_(0, features.response, scores_T)
    sharding.sum_over_tokens(influence_R, counts_R)
    if not anchor_includes_self:
        sharding.sum_over_vocabulary(influence_R)
    return scores_T, torch.where(correct, influence_R / counts_R, torch.nan)


def _tokens_by_group(group: Tensor, num_groups: int) -> tuple[Tensor, ...]:
    order = torch.argsort(group, stable=True)
    return order.split(torch.bincount(group, minlength=num_groups).tolist())


def _reduction_chunks(vocabulary: GroupVocabulary, dim: int) -> Iterator[range]:
    """Runs of groups whose M⁺ are reduced together: all of them, unless they would not fit.

    They follow from the whole ``vocabulary``, so that they are the same whatever part of it a rank owns.
    """
    start, elements = 0, 0
    for group in range(vocabulary.num_groups):
        size = vocabulary.size(group) * dim
        if group > start and elements + size > REDUCTION_ELEMENTS:
            yield range(start, group)
            start, elements = group, 0
        elements += size
    if vocabulary.num_groups:
        yield range(start, vocabulary.num_groups)


def _prediction_errors(
    features: TokenFeatures, tokens: Tensor, rows: OutputRows, vocabulary: GroupVocabulary, group: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Blocks of a group's ``tokens``: their indices [t], float32 hidden states [t, D] and g [t, V]."""
    if not len(tokens) or not vocabulary.size(group):
        return
    weight_VD, bias_V = rows.select(vocabulary.token_ids(group))
    for part in tokens.split(max(1, ERROR_BLOCK_ELEMENTS // weight_VD.shape[0])):
        hidden = features.hidden_of(part)
        logits = torch.nn.functional.linear(hidden, weight_VD, bias_V) / features.temperature[part, None]
        errors = (logits - features.log_normalizer[part, None]).exp_().neg_()
        columns, held = vocabulary.locate(group, features.token_ids[part])
        columns, held = columns[:, None], held[:, None]
        # 1 − π_y without cancellation where π_y is close to 1
        own = torch.where(held, -torch.expm1(features.log_probs[part, None]), errors.gather(1, columns))
        errors.scatter_(1, columns, own)
        yield part, hidden, errors


def _add_outer_products(
    sum_VD: Tensor, features: TokenFeatures, tokens: Tensor, rows: OutputRows, vocabulary: GroupVocabulary, group: int
) -> None:
    """sum += Σ_t g_t h_tᵀ."""
    for _, hidden, errors in _prediction_errors(features, tokens, rows, vocabulary, group):
        sum_VD.addmm_(errors.T, hidden)


def _correct_responses(
    features: TokenFeatures, is_correct_T: Tensor, responses: int, num_groups: int, sharding: Sharding
) -> list[list[int]]:
    """Correct responses of each group: those with tokens here, or on any rank if responses are spread over ranks."""
    keys = features.group.new_zeros(0)
    with sharding.local_work():
        keys = torch.unique((features.group * responses + features.response)[is_correct_T])
    if sharding.spreads_responses:
        keys = sharding.union(keys)
    by_group: list[list[int]] = [[] for _ in range(num_groups)]
    for key in keys.tolist():
        by_group[key // responses].append(key % responses)
    return by_group


def _influence_of_others(
    direction_VD: Tensor,
    features: TokenFeatures,
    tokens: Tensor,
    rows: OutputRows,
    vocabulary: GroupVocabulary,
    group: int,
    sharding: Sharding,
) -> Tensor:
    """This rank's part of ⟨M_i, M⁺ − M_i⟩_F, where ``tokens`` are all tokens of response i that it holds."""
    here_VD = torch.zeros_like(direction_VD)
    with sharding.local_work():
        _add_outer_products(here_VD, features, tokens, rows, vocabulary, group)
    own_VD = here_VD
    if sharding.spreads_responses:
        own_VD = here_VD.clone()
        sharding.sum_over_context(own_VD)
    return (here_VD * (direction_VD - own_VD)).sum()
