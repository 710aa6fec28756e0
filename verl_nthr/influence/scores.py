"""Influence scores s_t = g_tᵀ M⁺ h_t of response tokens (arXiv 2505.18830, Eq. 7 and App. 7.4).

Axes: T tokens of this process, D hidden size, V the group's vocabulary, N entries of all groups' vocabularies,
R responses of the batch, G prompt groups, S runs of tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.profiler import record_function

from verl_nthr.influence.features import OutputRows, TokenFeatures
from verl_nthr.influence.precision import products_of
from verl_nthr.influence.prediction_errors import PredictionErrors
from verl_nthr.influence.segments import Segments, limits_of, plan_buckets
from verl_nthr.influence.sharding import Sharding
from verl_nthr.influence.vocabulary import GroupVocabulary

REDUCTION_ELEMENTS = 1 << 29
"""Float32 elements of the M⁺ of the groups that are reduced together."""


def influence_scores(
    features: TokenFeatures,
    rows: OutputRows,
    vocabulary: GroupVocabulary,
    group: Tensor,
    correct: Tensor,
    sharding: Sharding,
    *,
    anchor_includes_self: bool = True,
    length_normalised: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores of all tokens and anchors of all correct responses, and which groups they can be trusted in.

    With g_t = e_{y_t} − π_t restricted to the group's vocabulary (π is never renormalised) and
    M⁺ = Σ_{i correct} Σ_k g_{i,k} h_{i,k}ᵀ:

        s_t  = g_tᵀ M⁺ h_t                                     (Eq. 7 in the matrix form of App. 7.4)
        s̄⁺_i = (1/|y_i|) Σ_k s_{i,k}                           (Eq. 8)

    Eq. 8 includes i's influence on itself; with ``anchor_includes_self=False`` its sum is ⟨M_i, M⁺ − M_i⟩_F instead,
    with M_i = Σ_k g_{i,k} h_{i,k}ᵀ. A rank that owns a part of the vocabulary holds those rows of M⁺ and those
    coordinates of g; its scores are partial sums, which are added up over the ranks.

    With ``length_normalised`` every correct response counts by its mean over tokens (arXiv 2510.03669):
    M⁺ = Σ_{i correct} (1/|y_i|) Σ_k g_{i,k} h_{i,k}ᵀ, where |y_i| counts its tokens on all ranks, and without i's
    influence on itself the anchor's sum is ⟨M_i, M⁺ − M_i/|y_i|⟩_F.

    A group is finite if the score, log π and log Z of each of its tokens are, and the anchors of its correct responses.
    The inputs count too: an infinite log Z makes π = 0 and a score that is finite and wrong. All ranks find the same
    groups finite, and what one group holds has no effect on another.

    Args:
        features: tokens of this rank; log Z and log π are those of the whole vocabulary.
        rows: the output layer at least at every entry of ``vocabulary`` that this rank owns.
        vocabulary: the same on every rank, whatever part of it the rank owns.
        group: [R] int64, group of each response, −1 for a padding row; the same on every rank.
        correct: [R] bool, False for a padding row; the same on every rank.
        sharding: the ranks that hold the other tokens and own the other entries.
        anchor_includes_self: see above; the same on every rank.
        length_normalised: see above; the same on every rank.

    Returns:
        scores [T] float32 of this rank's tokens, nan in groups that are not finite; anchors [R] float32, nan where
        incorrect or without tokens, and in groups that are not finite; finite [G] bool.
    """
    scores_T = torch.zeros_like(features.log_probs)
    sums_3R = scores_T.new_zeros(3, correct.shape[0])
    counts_R, influence_R, faults_R = sums_3R
    with sharding.local_work():
        counts_R.index_add_(0, features.response, torch.ones_like(scores_T))
    if length_normalised:
        sharding.sum_over_tokens(counts_R)
    with sharding.local_work():
        share_R = counts_R.reciprocal() if length_normalised else None
        scorer = _Scorer(features, rows, vocabulary, correct, sharding, share_R)
    if not anchor_includes_self:
        correct_keys = scores_T.new_zeros(0, dtype=torch.int64)
        with sharding.local_work():
            correct_keys = scorer.correct_responses()
        correct_keys = sharding.union(correct_keys)
    with products_of(features.hidden, scores_T.device):
        for groups in _reduction_chunks(vocabulary, features.hidden.shape[-1]):
            with sharding.local_work(), record_function("nthr.direction"):
                directions = scorer.directions(groups)
            sharding.agree(scores_T.device)
            sharding.sum_over_tokens(directions.rows_ND)
            with sharding.local_work(), record_function("nthr.scores"):
                scorer.add_scores(scores_T, directions)
            if not anchor_includes_self:
                scorer.add_influence_on_others(influence_R, directions, correct_keys)
    with sharding.local_work():
        scores_T.masked_fill_(~(features.log_probs.isfinite() & features.log_normalizer.isfinite()), torch.nan)
    sharding.sum_over_vocabulary(scores_T)
    with sharding.local_work():
        faults_R.index_add_(0, features.response, (~scores_T.isfinite()).float())
        if anchor_includes_self:
            influence_R.copy_(scorer.sums_of_responses(scores_T))
    sharding.sum_over_tokens(sums_3R[1:] if length_normalised else sums_3R)
    if not anchor_includes_self:
        sharding.sum_over_vocabulary(influence_R)
    with sharding.local_work():
        anchors = torch.where(correct, influence_R / counts_R, torch.nan)
        faulty = (faults_R > 0) | (correct & (counts_R > 0) & ~anchors.isfinite())
        # the last entry stands for padding rows
        finite = torch.ones(vocabulary.num_groups + 1, dtype=torch.bool, device=scores_T.device)
        finite[group[faulty]] = False
        scores_T.masked_fill_(~finite[features.group], torch.nan)
        anchors.masked_fill_(~finite[group], torch.nan)
    sharding.agree(scores_T.device)
    return scores_T, anchors, finite[:-1]


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


class _Directions:
    """−M⁺ of some neighbouring groups, one below the other.

    Attributes:
        groups: the groups.
        rows_ND: their rows.
    """

    def __init__(self, groups: range, vocabulary: GroupVocabulary, dim: int, device: torch.device) -> None:
        self.groups, self._first = groups, vocabulary.offsets[groups.start]
        self._entries = vocabulary.offsets[groups.stop] - self._first
        # the last row stands for padding
        self._buffer = torch.zeros(self._entries + 1, dim, device=device)
        self.rows_ND = self._buffer[:-1]

    def write(self, outer_SVD: Tensor, positions: Tensor, inside: Tensor) -> None:
        """Set the rows of some groups, at the ``positions`` [S, V] that are ``inside`` [S, V]."""
        self._buffer.index_copy_(0, self._places(positions, inside).flatten(), outer_SVD.flatten(0, 1))
        self._buffer[-1] = 0

    def read(self, positions: Tensor, inside: Tensor) -> Tensor:
        """[S, V, D] rows of some groups, 0 where not ``inside``."""
        return self._buffer[self._places(positions, inside)]

    def _places(self, positions: Tensor, inside: Tensor) -> Tensor:
        return torch.where(inside, positions - self._first, self._entries)


class _Scorer:
    """This rank's part of the work.

    Attributes:
        share: [R] float32, weight w_i of each correct response in M⁺; None for 1.
    """

    def __init__(
        self,
        features: TokenFeatures,
        rows: OutputRows,
        vocabulary: GroupVocabulary,
        correct: Tensor,
        sharding: Sharding,
        share: Tensor | None,
    ) -> None:
        shard = sharding.vocabulary
        self.vocabulary = vocabulary if shard is None else vocabulary.part(shard.start, shard.stop)
        self.sharding, self.share = sharding, share
        self.dim, self.responses = features.hidden.shape[-1], correct.shape[0]
        # by group, its correct responses first
        keys = (2 * features.group + ~correct[features.response]) * self.responses + features.response
        self.keys, self.order = keys.sort(stable=True)
        self.limits = limits_of(self.keys.device)
        self.errors = PredictionErrors(features, rows, self.vocabulary, self.order)
        ends = torch.arange(2 * vocabulary.num_groups + 1, device=self.keys.device) * self.responses
        self.bounds = torch.searchsorted(self.keys, ends).tolist()

    def directions(self, groups: range) -> _Directions:
        """−M⁺ = −Σ_{i correct} w_i Σ_k g_{i,k} h_{i,k}ᵀ of some groups, over the tokens of this rank."""
        directions = _Directions(groups, self.vocabulary, self.dim, self.keys.device)
        starts = [self.bounds[2 * group] for group in groups]
        ends = [self.bounds[2 * group + 1] for group in groups]
        for runs in self._buckets(groups, starts, ends):
            positions, inside = self.errors.entries(runs)
            directions.write(self.errors.outer_products(runs, positions, self.share), positions, inside)
        return directions

    def add_scores(self, scores_T: Tensor, directions: _Directions) -> None:
        """Add s_t = g_tᵀ M⁺ h_t of all tokens of the groups, from the M⁺ of all ranks."""
        starts = [self.bounds[2 * group] for group in directions.groups]
        ends = [self.bounds[2 * group + 2] for group in directions.groups]
        for runs in self._buckets(directions.groups, starts, ends):
            positions, inside = self.errors.entries(runs)
            direction_SVD = directions.read(positions, inside)
            for block in self.errors.blocks(runs, positions):
                scores_St = torch.linalg.vecdot(block.errors, torch.bmm(block.hidden, direction_SVD.mT))
                # the padding of a run adds zeros to its last token
                scores_T.index_add_(0, block.tokens.flatten(), scores_St.flatten())

    def sums_of_responses(self, values_T: Tensor) -> Tensor:
        """[R] sums of [T] values over the tokens of every response, always in the same order."""
        keys, counts = torch.unique_consecutive(self.keys, return_counts=True)
        sums = torch.segment_reduce(values_T[self.order], "sum", lengths=counts, initial=0.0, unsafe=True)
        return values_T.new_zeros(self.responses).index_copy_(0, keys % self.responses, sums)

    def correct_responses(self) -> Tensor:
        """Keys of the correct responses that have tokens here."""
        return torch.unique(self.keys[self.keys // self.responses % 2 == 0])

    def add_influence_on_others(self, influence_R: Tensor, directions: _Directions, correct_keys: Tensor) -> None:
        """Add this rank's part of ⟨M_i, M⁺ − w_i M_i⟩_F of the groups' correct responses; exactly 0 for a lone one.

        Args:
            influence_R: [R].
            directions: of all ranks.
            correct_keys: :meth:`correct_responses` of all ranks.
        """
        sharding, runs, planned = self.sharding, Segments([], [], []), []
        with sharding.local_work():
            keys = correct_keys.tolist()
            bounds = torch.stack([torch.searchsorted(self.keys, correct_keys + end) for end in (0, 1)]).tolist()
            found = [(key // self.responses // 2, start, end) for key, start, end in zip(keys, *bounds, strict=True)]
            members = Counter(group for group, _, _ in found)
            wanted = [i for i, (group, _, _) in enumerate(found) if group in directions.groups and members[group] > 1]
            runs = Segments(
                starts=[found[i][1] for i in wanted],
                counts=[found[i][2] - found[i][1] for i in wanted],
                groups=[found[i][0] for i in wanted],
            )
            responses = [keys[i] % self.responses for i in wanted]
            # ranks that share the tokens of a response sum the same buckets
            planned = [1] * len(runs) if sharding.spreads_responses else runs.counts
        if sharding.spreads_responses:
            sharding.agree(influence_R.device)
        sizes = [self.vocabulary.size(group) for group in runs.groups]
        for bucket in plan_buckets(planned, sizes, self.dim, self.limits):
            with sharding.local_work():
                positions, inside = self.errors.entries(runs[bucket])
                here_SVD = self.errors.outer_products(runs[bucket], positions)
                # a run without tokens reads another group's, which may be nan
                inside &= torch.tensor(runs[bucket].counts, device=inside.device)[:, None] > 0
                here_SVD.masked_fill_(~inside[..., None], 0.0)
                own_SVD = here_SVD.clone() if sharding.spreads_responses else here_SVD
            if sharding.spreads_responses:
                sharding.agree(influence_R.device)
                sharding.sum_over_context(own_SVD)
            with sharding.local_work():
                index = torch.tensor([responses[i] for i in bucket], device=influence_R.device)
                others_SVD = directions.read(positions, inside)
                if self.share is None:
                    others_SVD.sub_(own_SVD)
                else:
                    others_SVD.addcmul_(own_SVD, self.share[index, None, None], value=-1.0)
                influence_R.index_add_(0, index, (here_SVD * others_SVD).sum((1, 2)))

    def _buckets(self, groups: range, starts: list[int], ends: list[int]) -> Iterator[Segments]:
        """The groups' runs of tokens, those of similar sizes together."""
        counts = [end - start for start, end in zip(starts, ends, strict=True)]
        runs = Segments(starts, counts, groups)
        sizes = [self.vocabulary.size(group) for group in groups]
        for bucket in plan_buckets(counts, sizes, self.dim, self.limits):
            yield runs[bucket]
