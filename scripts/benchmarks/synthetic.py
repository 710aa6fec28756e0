"""Inputs of ``influence_scores`` of any size, for measuring its cost: the values do not matter."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from verl_nthr.influence.features import OutputRows, TokenFeatures
from verl_nthr.influence.scores import influence_scores
from verl_nthr.influence.sharding import Sharding
from verl_nthr.influence.vocabulary import GroupVocabulary, vocabulary_keys


@dataclass(frozen=True)
class Size:
    """How large a batch is; all responses are of one length, and half of each group are correct."""

    groups: int
    rollouts: int
    response: int

    entries: int
    """|V*| of every group."""

    hidden: int
    """D, size of a hidden state."""

    @property
    def tokens(self) -> int:
        return self.groups * self.rollouts * self.response


@dataclass(frozen=True)
class ScoringInput:
    """What a process gives to ``influence_scores``."""

    features: TokenFeatures
    rows: OutputRows
    num_groups: int
    group: Tensor
    correct: Tensor

    def keys(self) -> Tensor:
        """Of the vocabulary of the tokens here."""
        return vocabulary_keys(self.features.group, self.features.token_ids, len(self.rows.weight))

    def score(self, sharding: Sharding) -> tuple[Tensor, Tensor]:
        """Scores and anchors, with the union of the groups' vocabularies before."""
        keys = sharding.union(self.keys())
        vocabulary = GroupVocabulary.from_keys(keys, self.num_groups, len(self.rows.weight))
        return influence_scores(self.features, self.rows, vocabulary, self.group, self.correct, sharding)[:2]

    def part(self, rank: int, ranks: int) -> ScoringInput:
        """The tokens of one of several ranks: every ``ranks``-th response is its own."""
        mine = self.features.response % ranks == rank
        names = ("hidden", "token_ids", "log_probs", "log_normalizer", "temperature", "response", "group")
        return replace(self, features=TokenFeatures(**{name: getattr(self.features, name)[mine] for name in names}))


def make_input(size: Size, device: torch.device, seed: int = 0) -> ScoringInput:
    """Draw an input; every group uses ``size.entries`` token ids of its own, or as many as it has tokens.

    Args:
        size: of the batch.
        device: where it lies.
        seed: of the values.
    """
    rng = torch.Generator(device).manual_seed(seed)
    vocabulary, per_group = 4 * size.entries, size.rollouts * size.response
    pools = torch.rand(size.groups, vocabulary, generator=rng, device=device).argsort(dim=1)[:, : size.entries]
    place = torch.arange(per_group, device=device) % size.entries
    rows = torch.arange(size.groups * size.rollouts, device=device)
    response, group = rows.repeat_interleave(size.response), rows // size.rollouts
    features = TokenFeatures(
        hidden=torch.randn(size.tokens, size.hidden, generator=rng, device=device),
        token_ids=pools[:, place].flatten(),
        log_probs=-torch.rand(size.tokens, generator=rng, device=device),
        log_normalizer=torch.full((size.tokens,), 1.0 + torch.tensor(float(vocabulary)).log().item(), device=device),
        temperature=torch.ones(size.tokens, device=device),
        response=response,
        group=group[response],
    )
    weight = torch.randn(vocabulary, size.hidden, generator=rng, device=device) / size.hidden**0.5
    return ScoringInput(features, OutputRows(weight), size.groups, group, rows % 2 == 0)
