"""Scores do not depend on how a batch is cut over ranks, and every rank joins every collective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from unittest import mock

import pytest
import torch
import torch.distributed as dist

from tests.influence.batches import Batch, largest_error, random_batch
from tests.processes import run_ranks
from verl_nthr.influence import scores as scores_module
from verl_nthr.influence import segments
from verl_nthr.influence.agreement import MESSAGE_LENGTH, AgreedOutOfMemory, RemoteError
from verl_nthr.influence.features import OutputRows, TokenFeatures
from verl_nthr.influence.reference import influence_scores_reference
from verl_nthr.influence.scores import influence_scores
from verl_nthr.influence.sharding import Sharding, VocabularyShard
from verl_nthr.influence.vocabulary import GroupVocabulary, vocabulary_keys

GROUPS = (5, 4, 3)


@dataclass(frozen=True)
class Cut:
    """A grid of ranks: ``vocabulary`` neighbouring ranks share tokens, the others hold other tokens."""

    vocabulary: int = 1
    tokens: str = "responses"
    """Whole responses, single "tokens", or "first" for all tokens on the first rank."""
    includes_self: bool = True
    length_normalised: bool = False
    full: bool = False
    seed: int = 1
    vocab_size: int = 23
    groups: tuple[int, ...] = GROUPS
    """Responses of each group."""
    longest: int = 7
    """Tokens of a response."""
    block_elements: int = 30
    """Of a block; by default several blocks of tokens."""

    def batch(self) -> Batch:
        return random_batch(self.seed, group_sizes=self.groups, vocab_size=self.vocab_size, longest=self.longest)


CUTS = {
    1: [Cut(), Cut(includes_self=False, full=True), Cut(length_normalised=True, includes_self=False, seed=3)],
    2: [
        Cut(),
        Cut(includes_self=False),
        Cut(tokens="tokens", includes_self=False),
        Cut(tokens="first"),
        Cut(vocabulary=2),
        Cut(vocabulary=2, full=True),
        Cut(vocabulary=2, includes_self=False, vocab_size=8, seed=2),
        Cut(length_normalised=True),
        Cut(tokens="tokens", length_normalised=True),
        Cut(tokens="tokens", length_normalised=True, includes_self=False),
        Cut(tokens="first", length_normalised=True, includes_self=False),
        Cut(vocabulary=2, length_normalised=True, includes_self=False, seed=2),
    ],
    4: [
        Cut(tokens="tokens", full=True),
        Cut(vocabulary=2, includes_self=False),
        Cut(vocabulary=2, tokens="tokens", includes_self=False, full=True, seed=2),
        Cut(vocabulary=2, tokens="first", vocab_size=8),
        Cut(vocabulary=4, vocab_size=9),  # three rows a rank, the last rank has padding rows alone
        Cut(vocabulary=4, includes_self=False, full=True, vocab_size=9),
        Cut(length_normalised=True),
        Cut(vocabulary=2, tokens="tokens", length_normalised=True),
        Cut(vocabulary=2, tokens="tokens", length_normalised=True, includes_self=False, full=True, seed=2),
        Cut(vocabulary=4, length_normalised=True, vocab_size=9, seed=2),
    ],
}


def owner_of_tokens(cut: Cut, response: torch.Tensor, ranks: int) -> torch.Tensor:
    """Token rank [T] that holds each token."""
    if cut.tokens == "responses":
        return response % ranks
    if cut.tokens == "tokens":
        return torch.arange(len(response)) % ranks
    return torch.zeros_like(response)


def shard_of(cut: Cut, rank: int, weight: torch.Tensor) -> tuple[int, int, OutputRows]:
    """Bounds and rows of a rank's part of a vocabulary that is padded to equal parts."""
    size = -(-cut.vocab_size // cut.vocabulary)
    padded = torch.cat([weight, torch.full((size * cut.vocabulary - cut.vocab_size, weight.shape[1]), torch.nan)])
    index = rank % cut.vocabulary
    start, stop = min(index * size, cut.vocab_size), min((index + 1) * size, cut.vocab_size)
    return start, stop, OutputRows(padded[start:stop], token_ids=torch.arange(start, stop))


def groups_of(cut: Cut, rank: int, world_size: int) -> tuple[dist.ProcessGroup, dist.ProcessGroup]:
    """This rank's token group and vocabulary group; every rank makes all groups."""
    grid = torch.arange(world_size).view(-1, cut.vocabulary)
    tokens = [dist.new_group(ranks.tolist()) for ranks in grid.T]
    vocabulary = [dist.new_group(ranks.tolist()) for ranks in grid]
    return tokens[rank % cut.vocabulary], vocabulary[rank // cut.vocabulary]


@dataclass(frozen=True)
class Fault:
    """A number of one token that is not finite."""

    token: int
    field: str
    """ "hidden" or "log_probs"."""
    value: float
    rank: int | None = None
    """The one rank that sees it; None for all that hold the token."""


@dataclass(frozen=True)
class Found:
    """What a rank finds."""

    tokens: list[int]
    scores: list[float]
    anchors: list[float]
    finite: list[bool]


def sharded_scores(rank: int, cuts: list[Cut], faults: Sequence[Fault | None] = (None,)) -> list[list[Found]]:
    """By cut and fault, what this rank finds."""
    scores_module.REDUCTION_ELEMENTS = 120  # several reductions
    answers = []
    for cut in cuts:
        segments.CPU = segments.Limits(block_elements=cut.block_elements, block_tokens=1, padding_share=0.0)
        token_group, vocabulary_group = groups_of(cut, rank, dist.get_world_size())
        answers.append([found_with(fault, cut, rank, token_group, vocabulary_group) for fault in faults])
    return answers


def found_with(
    fault: Fault | None,
    cut: Cut,
    rank: int,
    token_group: dist.ProcessGroup,
    vocabulary_group: dist.ProcessGroup,
) -> Found:
    """What this rank finds if one number is not finite."""
    batch = cut.batch()
    log_probs = batch.exact_log_probs().float()
    if fault is not None and fault.rank in (None, rank) and fault.token < len(log_probs):
        {"hidden": batch.hidden, "log_probs": log_probs}[fault.field][fault.token] = fault.value
    ranks = dist.get_world_size(token_group)
    mine = (owner_of_tokens(cut, batch.response, ranks) == dist.get_rank(token_group)).nonzero()[:, 0]
    start, stop, rows = shard_of(cut, rank, batch.unembedding)
    hidden, token_ids, response = batch.hidden[mine], batch.token_ids[mine], batch.response[mine]
    temperature = torch.full((len(mine),), 0.6)
    label_logits = OutputRows(batch.unembedding).label_logits(hidden, token_ids)
    features = TokenFeatures(
        hidden,
        token_ids,
        log_probs[mine],
        label_logits / temperature - log_probs[mine],
        temperature,
        response,
        batch.group[response],
    )
    sharding = Sharding(
        token_group,
        VocabularyShard(start, stop, vocabulary_group) if cut.vocabulary > 1 else None,
        token_group if cut.tokens == "tokens" else None,
    )
    if cut.full:
        vocabulary = GroupVocabulary.whole(len(cut.groups), cut.vocab_size, hidden.device)
    else:
        keys = sharding.union(vocabulary_keys(features.group, token_ids, cut.vocab_size))
        vocabulary = GroupVocabulary.from_keys(keys, len(cut.groups), cut.vocab_size)
    scores, anchors, finite = influence_scores(
        features,
        rows,
        vocabulary,
        batch.group,
        batch.correct,
        sharding,
        anchor_includes_self=cut.includes_self,
        length_normalised=cut.length_normalised,
    )
    return Found(mine.tolist(), scores.tolist(), anchors.tolist(), finite.tolist())


@pytest.mark.parametrize("world_size", list(CUTS))
def test_any_cut_gives_the_scores_of_the_double_sums(world_size: int) -> None:
    answers = run_ranks(sharded_scores, world_size, CUTS[world_size])
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    for index, cut in enumerate(CUTS[world_size]):
        batch = cut.batch()
        expected_scores, expected_anchors = influence_scores_reference(
            **batch.reference_arguments(),
            vocabulary="full" if cut.full else "response",
            anchor_includes_self=cut.includes_self,
            length_normalised=cut.length_normalised,
        )
        scores = torch.full_like(expected_scores, torch.nan)
        for (answer,) in (of_rank[index] for of_rank in answers):
            scores[answer.tokens] = torch.tensor(answer.scores, dtype=torch.float64)
            found, wanted = torch.tensor(answer.anchors), expected_anchors
            assert all(answer.finite)
            assert torch.equal(found.isnan(), wanted.isnan()), cut
            assert largest_error(found[~found.isnan()], wanted[~wanted.isnan()]) < 1e-5, cut
        assert largest_error(scores, expected_scores) < 1e-5, cut


def failing_rank(rank: int, stage: str, vocabulary_ranks: int) -> str:
    cut = Cut(vocabulary=vocabulary_ranks)
    batch = random_batch(1, group_sizes=GROUPS)
    token_group, vocabulary_group = groups_of(cut, rank, dist.get_world_size())
    start, stop, rows = shard_of(cut, rank, batch.unembedding)
    sharding = Sharding(token_group, VocabularyShard(start, stop, vocabulary_group))
    keys = torch.zeros(0, dtype=torch.int64)
    try:
        if stage == "before":
            with sharding.local_work():
                if rank == 1:
                    raise ValueError("bad hidden state")
                keys = vocabulary_keys(batch.group[batch.response], batch.token_ids, 23)
            sharding.union(keys)
        response = batch.response
        if rank == 1 and stage == "counting":
            response = response + len(batch.group)
        elif rank == 1:
            rows = OutputRows(rows.weight[:1])
        tokens = torch.arange(len(batch.response))
        temperature = torch.ones(len(tokens))
        features = TokenFeatures(
            batch.hidden,
            batch.token_ids,
            temperature,
            temperature,
            temperature,
            response,
            batch.group[batch.response],
        )
        vocabulary = GroupVocabulary.from_keys(vocabulary_keys(features.group, batch.token_ids, 23), len(GROUPS), 23)
        counting = stage == "counting"
        influence_scores(features, rows, vocabulary, batch.group, batch.correct, sharding, length_normalised=counting)
    except (ValueError, RuntimeError, IndexError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


@pytest.mark.parametrize(
    ("stage", "own"),
    [("before", "ValueError: bad hidden state"), ("counting", "IndexError: "), ("scoring", "IndexError: ")],
)
@pytest.mark.parametrize(("world_size", "vocabulary_ranks"), [(3, 1), (2, 2), (4, 2)])
def test_an_error_on_one_rank_is_raised_on_every_rank(
    stage: str, own: str, world_size: int, vocabulary_ranks: int
) -> None:
    answers = run_ranks(failing_rank, world_size, stage, vocabulary_ranks)
    error = answers.pop(1)
    assert error.startswith(own)
    assert answers == [f"RemoteError: NTHR failed on rank 1 of {world_size}: {error}"] * (world_size - 1)


SHORTAGE, BUG = torch.OutOfMemoryError("no room"), ValueError("a bug")
NESTED = RemoteError("NTHR failed on rank 7 of 8: ValueError: a bug")
AGREEMENTS = [
    ({}, ["no error"] * 4),
    ({2: SHORTAGE}, ["AgreedOutOfMemory: NTHR failed on rank 2 of 4: OutOfMemoryError: no room"] * 4),
    ({3: SHORTAGE, 1: SHORTAGE}, ["AgreedOutOfMemory: NTHR failed on rank 1 of 4: OutOfMemoryError: no room"] * 4),
    (
        {0: SHORTAGE, 1: BUG, 3: ValueError("another")},
        [
            "RemoteError: NTHR failed on rank 1 of 4: ValueError: a bug",
            "ValueError: a bug",
            "RemoteError: NTHR failed on rank 1 of 4: ValueError: a bug",
            "ValueError: another",
        ],
    ),
    ({3: NESTED}, [f"RemoteError: {NESTED}"] * 4),
    (
        {3: MemoryError("host")},
        [*["RemoteError: NTHR failed on rank 3 of 4: MemoryError: host"] * 3, "MemoryError: host"],
    ),
    (
        {0: ValueError("é" * 3000)},
        [f"ValueError: {'é' * 3000}", *[f"RemoteError: NTHR failed on rank 0 of 4: ValueError: {'é' * 1959}…"] * 3],
    ),
]


def agreements(rank: int, cases: list[dict[int, Exception]]) -> list[tuple[str, list[int]]]:
    """What this rank raises where the ranks of a case have kept its errors, and the sizes of what they exchange."""
    token_group, vocabulary_group = groups_of(Cut(vocabulary=2), rank, dist.get_world_size())
    found = []
    for errors in cases:
        sharding, error = Sharding(token_group, VocabularyShard(0, 1, vocabulary_group)), "no error"
        with mock.patch.object(dist, "all_reduce", wraps=dist.all_reduce) as all_reduce:
            try:
                with sharding.local_work():
                    if rank in errors:
                        raise errors[rank]
                sharding.agree(torch.device("cpu"))
            except Exception as raised:  # noqa: BLE001 - its type and text are what is wanted
                error = f"{type(raised).__name__}: {raised}"
        found.append((error, [call.args[0].numel() for call in all_reduce.call_args_list]))
    return found


def test_what_the_ranks_agree_on() -> None:
    answers = run_ranks(agreements, 4, [errors for errors, _ in AGREEMENTS])
    for index, (errors, expected) in enumerate(AGREEMENTS):
        assert [answer[index][0] for answer in answers] == expected, errors
        sizes = [2, 2, 1, 1, MESSAGE_LENGTH, MESSAGE_LENGTH] if errors else [2, 2]  # along two axes
        assert [answer[index][1] for answer in answers] == [sizes] * 4, errors


def test_one_process_raises_its_own_error_but_a_shortage_of_memory_as_agreed() -> None:
    def raised(error: Exception) -> Exception:
        sharding = Sharding()
        with sharding.local_work():
            raise error
        with pytest.raises(type(error)) as found:
            sharding.agree(torch.device("cpu"))
        return found.value

    assert raised(BUG) is BUG
    assert isinstance(raised(SHORTAGE), AgreedOutOfMemory)
