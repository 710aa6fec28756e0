"""Scores do not depend on how the tokens of a batch are cut over ranks, and every rank joins every collective."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from tests.influence.batches import largest_error, random_batch
from tests.processes import run_ranks
from verl_nthr import nthr_weights
from verl_nthr.influence import scores as scores_module
from verl_nthr.influence.features import OutputRows, TokenFeatures
from verl_nthr.influence.scores import influence_scores
from verl_nthr.influence.sharding import TokenSharding
from verl_nthr.influence.vocabulary import GroupVocabulary, vocabulary_keys

GROUPS = (5, 4, 3)


def owner_of_tokens(cut: str, response: torch.Tensor, world_size: int) -> torch.Tensor:
    """Rank [T] that holds each token."""
    if cut == "responses":
        return response % world_size
    if cut == "tokens":
        return torch.arange(len(response)) % world_size
    return torch.zeros_like(response)


def sharded_scores(rank: int, seed: int, cut: str, includes_self: bool) -> tuple[list[int], list[float], list[float]]:
    scores_module.REDUCTION_ELEMENTS = 120  # several reductions
    scores_module.ERROR_BLOCK_ELEMENTS = 30  # several blocks of tokens
    batch = random_batch(seed, group_sizes=GROUPS)
    mine = (owner_of_tokens(cut, batch.response, dist.get_world_size()) == rank).nonzero()[:, 0]
    rows = OutputRows(batch.unembedding)
    temperature = torch.full((len(mine),), 0.6)
    hidden, token_ids, response = batch.hidden[mine], batch.token_ids[mine], batch.response[mine]
    log_probs = rows.log_probs(hidden, token_ids, temperature)
    normalizer = rows.label_logits(hidden, token_ids) / temperature - log_probs
    group = batch.group[response]
    features = TokenFeatures(hidden, token_ids, log_probs, normalizer, temperature, response, group)
    sharding = TokenSharding(dist.group.WORLD)
    keys = sharding.union(vocabulary_keys(group, token_ids, 23))
    vocabulary = GroupVocabulary.from_keys(keys, len(GROUPS), 23)
    scores, anchors = influence_scores(
        features, rows, vocabulary, batch.correct, sharding, anchor_includes_self=includes_self
    )
    return mine.tolist(), scores.tolist(), anchors.tolist()


@pytest.mark.parametrize(
    ("world_size", "cut", "includes_self"),
    [(2, "responses", True), (2, "responses", False), (3, "tokens", True), (2, "one rank holds all", True)],
)
def test_any_cut_gives_the_scores_of_one_process(world_size: int, cut: str, includes_self: bool) -> None:
    batch = random_batch(1, group_sizes=GROUPS)
    expected = nthr_weights(**batch.arguments(None), anchor_includes_self=includes_self)
    scores = torch.full_like(expected.scores, torch.nan)
    for tokens, values, anchors in run_ranks(sharded_scores, world_size, 1, cut, includes_self):
        scores[tokens] = torch.tensor(values)
        found, wanted = torch.tensor(anchors), expected.anchors
        assert torch.equal(found.isnan(), wanted.isnan())
        assert largest_error(found[~found.isnan()], wanted[~wanted.isnan()]) < 1e-5
    assert largest_error(scores, expected.scores) < 1e-5


def failing_rank(rank: int, stage: str) -> str:
    batch = random_batch(1, group_sizes=GROUPS)
    sharding = TokenSharding(dist.group.WORLD)
    keys = torch.zeros(0, dtype=torch.int64)
    try:
        if stage == "before":
            with sharding.local_work():
                if rank == 1:
                    raise ValueError("bad hidden state")
                keys = vocabulary_keys(batch.group[batch.response], batch.token_ids, 23)
            sharding.union(keys)
        tokens = torch.arange(len(batch.response))
        wrong_rows = OutputRows(batch.unembedding[: 1 if rank == 1 else 23])
        temperature = torch.ones(len(tokens))
        features = TokenFeatures(
            batch.hidden,
            batch.token_ids,
            temperature,
            temperature,
            temperature,
            batch.response,
            batch.group[batch.response],
        )
        vocabulary = GroupVocabulary.from_keys(vocabulary_keys(features.group, batch.token_ids, 23), len(GROUPS), 23)
        influence_scores(features, wrong_rows, vocabulary, batch.correct, sharding)
    except (ValueError, RuntimeError, IndexError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


@pytest.mark.parametrize(("stage", "own"), [("before", "ValueError: bad hidden state"), ("scoring", "IndexError")])
def test_an_error_on_one_rank_is_raised_on_every_rank(stage: str, own: str) -> None:
    answers = run_ranks(failing_rank, 3, stage)
    assert answers[1].startswith(own)
    for other in (0, 2):
        assert answers[other].startswith("RuntimeError: NTHR failed on 1 other rank(s) of 3")
