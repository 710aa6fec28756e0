"""The phases of scoring: what one rank computes of its own tokens between two collectives.

Read them beside the paper: :meth:`Phases.accumulate` is M⁺ (App. 7.4), :meth:`Phases.score` Eq. 7 and
:meth:`Phases.anchors` Eq. 8. Letters at the end of a name are its axes: T tokens of this rank, R responses of the
batch, B runs of tokens that are padded together, L tokens of the longest run, U vocabulary entries of a run, D hidden
size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.profiler import record_function

from verl_nthr.influence.cross_moments import CrossMoments
from verl_nthr.influence.features import LMHeadRows, TokenFeatures
from verl_nthr.influence.prediction_errors import PredictionErrors
from verl_nthr.influence.segments import BlockSizes, TokenSegments, plan_buckets
from verl_nthr.influence.vocabulary import GroupVocabulary


@dataclass(frozen=True)
class ResponseBucket:
    """Correct responses whose M_i are taken together.

    Attributes:
        runs: their tokens on this rank, maybe none.
        responses: [B] int64.
        positions, inside: entries of their groups, as :meth:`PredictionErrors.entries`.
    """

    runs: TokenSegments
    responses: Tensor
    positions: Tensor
    inside: Tensor


class Phases:
    """One batch's phases, and what they hand on to each other.

    Attributes:
        scores_T: [T] float32.
        sums_3R: [3, R] float32 of each response: its tokens, Σ_k s_k, and how many of its tokens are not finite; this
            rank's until they are summed over the ranks.
        counts_R: the first of these.
        correct_keys: int64, keys of the correct responses that have tokens here.
    """

    def __init__(self, features: TokenFeatures, rows: LMHeadRows, vocabulary: GroupVocabulary, correct: Tensor) -> None:
        """Order the tokens by group, those of correct responses first, and count them.

        Args:
            features, rows, vocabulary, correct: as for :func:`verl_nthr.influence.scores.influence_scores`.
        """
        self._features, self._vocabulary, self._correct = features, vocabulary, correct
        self._dim, self._responses = features.hidden.shape[-1], correct.shape[0]
        self._share_R: Tensor | None = None
        self.scores_T = torch.zeros_like(features.log_probs)
        self.sums_3R = self.scores_T.new_zeros(3, self._responses)
        self.counts_R, self._influence_R, self._faults_R = self.sums_3R
        self.counts_R.index_add_(0, features.response, torch.ones_like(self.scores_T))
        keys = (2 * features.group + ~correct[features.response]) * self._responses + features.response
        self._keys, self._order = keys.sort(stable=True)
        self.correct_keys = torch.unique(self._keys[self._keys // self._responses % 2 == 0])
        self._block_sizes = BlockSizes.for_device(keys.device)
        self._errors = PredictionErrors(features, rows, vocabulary, self._order)
        ends = torch.arange(2 * vocabulary.num_groups + 1, device=keys.device) * self._responses
        self._bounds = torch.searchsorted(self._keys, ends).tolist()

    def weigh_by_length(self) -> None:
        """Let every correct response count by 1/|y_i| in M⁺; ``counts_R`` is that of all ranks by now."""
        self._share_R = self.counts_R.reciprocal()

    def accumulate(self, groups: range) -> CrossMoments:
        """−M⁺ = −Σ_{i correct} w_i Σ_k g_{i,k} h_{i,k}ᵀ of some groups, over the tokens of this rank."""
        with record_function("nthr.direction"):
            moments = CrossMoments(groups, self._vocabulary, self._dim, self._keys.device)
            starts = [self._bounds[2 * group] for group in groups]
            ends = [self._bounds[2 * group + 1] for group in groups]
            for runs in self._buckets(groups, starts, ends):
                positions, inside = self._errors.entries(runs)
                moments.write(self._errors.cross_moments(runs, positions, self._share_R), positions, inside)
        return moments

    def score(self, moments: CrossMoments) -> None:
        """s_t = g_tᵀ M⁺ h_t (Eq. 7) of all tokens of the groups, from the M⁺ of all ranks."""
        with record_function("nthr.scores"):
            starts = [self._bounds[2 * group] for group in moments.groups]
            ends = [self._bounds[2 * group + 2] for group in moments.groups]
            for runs in self._buckets(moments.groups, starts, ends):
                positions, inside = self._errors.entries(runs)
                moments_BUD = moments.read(positions, inside)
                for block in self._errors.blocks(runs, positions):
                    scores_BL = torch.linalg.vecdot(block.errors_BLU, torch.bmm(block.hidden_BLD, moments_BUD.mT))
                    # the padding of a run adds zeros to its last token
                    self.scores_T.index_add_(0, block.tokens_BL.flatten(), scores_BL.flatten())

    def sum_responses(self, *, sum_scores: bool) -> None:
        """Sum over every response how many of its tokens are not finite and, if asked for, its scores."""
        features = self._features
        self.scores_T.masked_fill_(~(features.log_probs.isfinite() & features.log_normalizer.isfinite()), torch.nan)
        self._faults_R.index_add_(0, features.response, (~self.scores_T.isfinite()).float())
        if sum_scores:
            # always in the same order, unlike index_add_ on a GPU
            keys, counts = torch.unique_consecutive(self._keys, return_counts=True)
            ordered = self.scores_T[self._order]
            sums = torch.segment_reduce(ordered, "sum", lengths=counts, initial=0.0, unsafe=True)
            self._influence_R.index_copy_(0, keys % self._responses, sums)

    def anchors(self, group: Tensor) -> tuple[Tensor, Tensor]:
        """s̄⁺_i = (1/|y_i|) Σ_k s_{i,k} (Eq. 8), and which groups are finite; scores and anchors of others become nan.

        Args:
            group: [R] int64, −1 for a padding row.

        Returns:
            anchors [R] float32, nan where incorrect or without tokens; finite [G] bool.
        """
        anchors = torch.where(self._correct, self._influence_R / self.counts_R, torch.nan)
        faulty = (self._faults_R > 0) | (self._correct & (self.counts_R > 0) & ~anchors.isfinite())
        # the last entry stands for padding rows
        finite = torch.ones(self._vocabulary.num_groups + 1, dtype=torch.bool, device=anchors.device)
        finite[group[faulty]] = False
        self.scores_T.masked_fill_(~finite[self._features.group], torch.nan)
        return anchors.masked_fill(~finite[group], torch.nan), finite[:-1]

    def responses_of(self, moments: CrossMoments, correct_keys: Tensor, *, spread: bool) -> list[ResponseBucket]:
        """The correct responses of some groups, but for lone ones, whose influence on others is exactly 0.

        Args:
            moments: of the groups.
            correct_keys: :attr:`correct_keys` of all ranks.
            spread: whether ranks share the tokens of a response, and so must form the same buckets.
        """
        keys = correct_keys.tolist()
        bounds = torch.stack([torch.searchsorted(self._keys, correct_keys + end) for end in (0, 1)]).tolist()
        found = [(key // self._responses // 2, start, end) for key, start, end in zip(keys, *bounds, strict=True)]
        members = Counter(group for group, _, _ in found)
        wanted = [i for i, (group, _, _) in enumerate(found) if group in moments.groups and members[group] > 1]
        runs = TokenSegments(
            starts=[found[i][1] for i in wanted],
            counts=[found[i][2] - found[i][1] for i in wanted],
            groups=[found[i][0] for i in wanted],
        )
        responses = self._keys.new_tensor([keys[i] % self._responses for i in wanted])
        planned = [1] * len(runs) if spread else runs.counts
        sizes = [self._vocabulary.size(group) for group in runs.groups]
        buckets = plan_buckets(planned, sizes, self._dim, self._block_sizes)
        return [
            ResponseBucket(runs[bucket], responses[bucket], *self._errors.entries(runs[bucket])) for bucket in buckets
        ]

    def response_moments(self, bucket: ResponseBucket) -> Tensor:
        """−M_i = −Σ_k g_{i,k} h_{i,k}ᵀ of each response, over the tokens of this rank: [B, U, D]."""
        own_BUD = self._errors.cross_moments(bucket.runs, bucket.positions)
        has_tokens = torch.tensor(bucket.runs.counts, device=own_BUD.device)[:, None] > 0
        # a run without tokens reads another group's, which may be nan
        return own_BUD.masked_fill_(~(bucket.inside & has_tokens)[..., None], 0.0)

    def add_all_influence_on_others(self, moments: CrossMoments, correct_keys: Tensor) -> None:
        """:meth:`add_influence_on_others` of all responses of the groups, each of which lies on one rank."""
        for bucket in self.responses_of(moments, correct_keys, spread=False):
            own_BUD = self.response_moments(bucket)
            self.add_influence_on_others(bucket, moments, own_BUD, own_BUD)

    def add_influence_on_others(
        self, bucket: ResponseBucket, moments: CrossMoments, own_BUD: Tensor, total_BUD: Tensor
    ) -> None:
        """Add this rank's part of ⟨M_i, M⁺ − w_i M_i⟩_F.

        Args:
            bucket: B responses.
            moments: M⁺ of all ranks.
            own_BUD: :meth:`response_moments` of this rank.
            total_BUD: that of all ranks.
        """
        others_BUD = moments.read(bucket.positions, bucket.inside)
        if self._share_R is None:
            others_BUD.sub_(total_BUD)
        else:
            others_BUD.addcmul_(total_BUD, self._share_R[bucket.responses, None, None], value=-1.0)
        self._influence_R.index_add_(0, bucket.responses, (own_BUD * others_BUD).sum((1, 2)))

    def _buckets(self, groups: range, starts: list[int], ends: list[int]) -> Iterator[TokenSegments]:
        """The groups' runs of tokens, those of similar sizes together."""
        counts = [end - start for start, end in zip(starts, ends, strict=True)]
        runs = TokenSegments(starts, counts, groups)
        sizes = [self._vocabulary.size(group) for group in groups]
        for bucket in plan_buckets(counts, sizes, self._dim, self._block_sizes):
            yield runs[bucket]
