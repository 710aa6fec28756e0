"""Scoring of given token features: the only contact of the benchmarks with the inside of :mod:`verl_nthr.influence`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor

from verl_nthr.influence.cross_moments import CrossMoments
from verl_nthr.influence.features import LMHeadRows, TokenFeatures
from verl_nthr.influence.phases import Phases
from verl_nthr.influence.process_grid import ProcessGrid
from verl_nthr.influence.scores import influence_scores
from verl_nthr.influence.selection import select_tokens, thresholds
from verl_nthr.influence.vocabulary import GroupVocabulary, vocabulary_keys

RANKS = 8
"""Ranks that are imagined to exchange M⁺."""


@dataclass(frozen=True)
class Scoring:
    """T tokens of R responses that this process holds, and the output layer.

    Attributes:
        hidden: [T, D] any float dtype.
        token_ids: [T] int64.
        log_probs: [T] float32, log π.
        log_normalizer: [T] float32, log Z.
        response: [T] int64.
        group: [R] int64; every group is mixed.
        correct: [R] bool.
        unembedding: [V, D].
    """

    hidden: Tensor
    token_ids: Tensor
    log_probs: Tensor
    log_normalizer: Tensor
    response: Tensor
    group: Tensor
    correct: Tensor
    unembedding: Tensor

    @property
    def num_groups(self) -> int:
        return int(self.group.max()) + 1

    def scores(
        self,
        vocabulary: str = "response",
        tokens: dist.ProcessGroup | None = None,
        exchanged: torch.dtype | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Scores [T] and anchors [R] at temperature 1.

        Args:
            vocabulary: coordinates of the prediction errors.
            tokens: the ranks that hold the other tokens.
            exchanged: dtype in which eight imagined ranks exchange M⁺; None for a single one.
        """
        group, size, grid = self.group[self.response], len(self.unembedding), ProcessGrid(tokens)
        features = TokenFeatures(
            hidden=self.hidden,
            token_ids=self.token_ids,
            log_probs=self.log_probs,
            log_normalizer=self.log_normalizer,
            temperature=torch.ones_like(self.log_probs),
            response=self.response,
            group=group,
        )
        if vocabulary == "full":
            entries = GroupVocabulary.whole(self.num_groups, size, self.group.device)
            rows = LMHeadRows(self.unembedding)
        else:
            keys = grid.union(vocabulary_keys(group, self.token_ids, size))
            entries = GroupVocabulary.from_keys(keys, self.num_groups, size)
            token_ids = torch.unique(keys % size)
            rows = LMHeadRows(self.unembedding[token_ids].to(self.hidden.dtype), None, token_ids)
        with _exchanged_in(exchanged):
            found = influence_scores(features, rows, entries, self.group, self.correct, grid)
        return found.scores, found.anchors

    def selected(self, scores: Tensor, anchors: Tensor) -> Tensor:
        """[T] bool, the tokens that NTHR selects at β = 1."""
        threshold = thresholds(anchors, self.group, self.num_groups, beta=1.0)
        return select_tokens(scores, threshold[self.group[self.response]], self.correct[self.response])

    def part(self, rank: int, ranks: int) -> Scoring:
        """The tokens of one of several ranks: those of every ``ranks``-th response."""
        mine = self.response % ranks == rank
        names = ("hidden", "token_ids", "log_probs", "log_normalizer", "response")
        return replace(self, **{name: getattr(self, name)[mine] for name in names})


@contextmanager
def _exchanged_in(dtype: torch.dtype | None) -> Iterator[None]:
    """Round M⁺ as if the parts of several ranks were added up in ``dtype``."""
    if dtype is None:
        yield
        return
    accumulate = Phases.accumulate

    def rounded(self: Phases, groups: range) -> CrossMoments:
        moments = accumulate(self, groups)
        shares = torch.rand(RANKS, *moments.rows_ND.shape, generator=torch.Generator().manual_seed(0))
        total = torch.zeros_like(moments.rows_ND, dtype=dtype)
        for share in (shares / shares.sum(0)).to(total.device):
            total = (total.float() + (moments.rows_ND * share).to(dtype).float()).to(dtype)
        moments.rows_ND.copy_(total)
        return moments

    with mock.patch.object(Phases, "accumulate", rounded):
        yield
