"""Influence scores s_t = g_tᵀ M⁺ h_t of response tokens (arXiv 2505.18830, Eq. 7 and App. 7.4).

:func:`influence_scores` is the driver: it alone runs collectives. Between them it calls the phases of
:class:`verl_nthr.influence.phases.Phases`, each of which is this rank's own work.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from verl_nthr.influence.cross_moments import CrossMoments
from verl_nthr.influence.deferred_errors import DeferredErrors
from verl_nthr.influence.features import LMHeadRows, TokenFeatures
from verl_nthr.influence.phases import Phases
from verl_nthr.influence.precision import reduction_dtype, tf32_for_half_precision
from verl_nthr.influence.process_grid import ProcessGrid
from verl_nthr.influence.vocabulary import GroupVocabulary

REDUCTION_ELEMENTS = 1 << 27
"""Float32 elements of the M⁺ of the groups that are reduced together; two such chunks are held at a time."""


@dataclass(frozen=True)
class InfluenceScores:
    """Scores of this rank's tokens and anchors of all responses.

    Attributes:
        scores: [T] float32, s_t; nan in groups that are not finite.
        anchors: [R] float32, s̄⁺; nan where incorrect or without tokens, and in groups that are not finite.
        finite: [G] bool, the same on every rank.
    """

    scores: Tensor
    anchors: Tensor
    finite: Tensor


def influence_scores(
    features: TokenFeatures,
    rows: LMHeadRows,
    vocabulary: GroupVocabulary,
    group: Tensor,
    correct: Tensor,
    grid: ProcessGrid | None = None,
    *,
    anchor_includes_self: bool = True,
    length_normalised: bool = False,
) -> InfluenceScores:
    """Score all tokens, and average the scores of every correct response.

    With g_t = e_{y_t} − π_t restricted to the group's vocabulary (π is never renormalised) and
    M⁺ = Σ_{i correct} Σ_k g_{i,k} h_{i,k}ᵀ:

        s_t  = g_tᵀ M⁺ h_t                                     (Eq. 7 in the matrix form of App. 7.4)
        s̄⁺_i = (1/|y_i|) Σ_k s_{i,k}                           (Eq. 8)

    Eq. 8 includes i's influence on itself; with ``anchor_includes_self=False`` its sum is ⟨M_i, M⁺ − M_i⟩_F instead,
    with M_i = Σ_k g_{i,k} h_{i,k}ᵀ.

    With ``length_normalised`` every correct response counts by its mean over tokens (arXiv 2510.03669):
    M⁺ = Σ_{i correct} (1/|y_i|) Σ_k g_{i,k} h_{i,k}ᵀ, where |y_i| counts its tokens on all ranks, and without i's
    influence on itself the anchor's sum is ⟨M_i, M⁺ − M_i/|y_i|⟩_F.

    A group is finite if the score, log π and log Z of each of its tokens are, and the anchors of its correct responses.
    The inputs count too: an infinite log Z makes π = 0 and a score that is finite and wrong. One group has no effect on
    another.

    Args:
        features: tokens of this rank; log Z and log π are those of the whole vocabulary.
        rows: the LM head at least at every entry of ``vocabulary``.
        vocabulary: the same on every rank.
        group: [R] int64, group of each response, −1 for a padding row; the same on every rank.
        correct: [R] bool, False for a padding row; the same on every rank.
        grid: the ranks that hold the other tokens; by default there are none.
        anchor_includes_self: see above; the same on every rank.
        length_normalised: see above; the same on every rank.

    Raises:
        Exception: this rank or another one failed; all ranks raise together, as
            :meth:`verl_nthr.influence.deferred_errors.DeferredErrors.raise_together` says.
    """
    grid = grid or ProcessGrid()
    errors, device = DeferredErrors(grid.tokens), features.log_probs.device
    phases = errors.attempt(Phases, features, rows, vocabulary, correct)
    errors.raise_together(device)
    if length_normalised:
        grid.sum_over_tokens(phases.counts_R)
        errors.attempt(phases.weigh_by_length)
    correct_keys = None if anchor_includes_self else grid.union(phases.correct_keys)

    def finish(moments: CrossMoments) -> None:
        errors.attempt(phases.score, moments)
        if correct_keys is None:
            return
        if not grid.spreads_responses:
            errors.attempt(phases.add_all_influence_on_others, moments, correct_keys)
            return
        buckets = errors.attempt(phases.responses_of, moments, correct_keys, spread=True)
        errors.raise_together(device)
        for bucket in buckets:
            own = errors.attempt(phases.response_moments, bucket)
            errors.raise_together(device)
            total = own.clone()
            grid.sum_over_response(total)
            errors.attempt(phases.add_influence_on_others, bucket, moments, own, total)

    with tf32_for_half_precision(features.hidden, device):
        reducing = None
        for groups in _chunks(vocabulary, features.hidden.shape[-1]):
            moments = errors.attempt(phases.accumulate, groups)
            errors.raise_together(device)
            started = moments, grid.start_sum_over_tokens(moments.rows_ND, reduction_dtype(features.hidden))
            # while one chunk is reduced, the products of the next are taken
            if reducing is not None:
                reducing[1].wait()
                finish(reducing[0])
            reducing = started
        if reducing is not None:
            reducing[1].wait()
            finish(reducing[0])
    errors.attempt(phases.sum_responses, sum_scores=anchor_includes_self)
    errors.raise_together(device)
    grid.sum_over_tokens(phases.sums_3R[1:] if length_normalised else phases.sums_3R)
    found = errors.attempt(phases.anchors, group)
    errors.raise_together(device)
    return InfluenceScores(phases.scores_T, *found)


def _chunks(vocabulary: GroupVocabulary, dim: int) -> Iterator[range]:
    """Runs of groups whose M⁺ are reduced together, the same on every rank."""
    start, elements = 0, 0
    for group in range(vocabulary.num_groups):
        size = vocabulary.size(group) * dim
        if group > start and elements + size > REDUCTION_ELEMENTS:
            yield range(start, group)
            start, elements = group, 0
        elements += size
    if vocabulary.num_groups:
        yield range(start, vocabulary.num_groups)
