"""Scoring of given token features: the only contact of the benchmarks with the inside of :mod:`verl_nthr.influence`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.distributed as dist
from torch import Tensor

from verl_nthr.influence.features import LMHeadRows, TokenFeatures
from verl_nthr.influence.process_grid import ProcessGrid
from verl_nthr.influence.scores import influence_scores
from verl_nthr.influence.selection import select_tokens, thresholds
from verl_nthr.influence.vocabulary import GroupVocabulary, vocabulary_keys


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

    def scores(self, vocabulary: str = "response", tokens: dist.ProcessGroup | None = None) -> tuple[Tensor, Tensor]:
        """Scores [T] and anchors [R] at temperature 1; ``tokens`` are the ranks that hold the other tokens."""
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
