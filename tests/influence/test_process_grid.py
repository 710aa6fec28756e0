"""Scores do not depend on how the tokens of a batch are cut over ranks, and every rank joins every collective."""

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
from verl_nthr.influence.deferred_errors import MESSAGE_LENGTH, AgreedOutOfMemory, DeferredErrors, RemoteError
from verl_nthr.influence.features import LMHeadRows, TokenFeatures
from verl_nthr.influence.process_grid import ProcessGrid
from verl_nthr.influence.reference import influence_scores_reference
from verl_nthr.influence.scores import influence_scores
from verl_nthr.influence.vocabulary import GroupVocabulary, vocabulary_keys

GROUPS = (5, 4, 3)


@dataclass(frozen=True)
class Cut:
    """How ranks share the tokens: responses go to sets of ``spread`` ranks, whose tokens these hold in turns."""

    spread: int = 1
    first: bool = False
    """Whether the first rank holds every token."""
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

    def owner(self, batch: Batch, ranks: int) -> torch.Tensor:
        """[T] rank that holds each token."""
        if self.first:
            return torch.zeros_like(batch.response)
        sets = ranks // self.spread
        return batch.response % sets * self.spread + torch.arange(len(batch.response)) % self.spread


CUTS = {
    1: [Cut(), Cut(includes_self=False, full=True), Cut(length_normalised=True, includes_self=False, seed=3)],
    2: [
        Cut(),
        Cut(includes_self=False),
        Cut(spread=2),
        Cut(spread=2, includes_self=False),
        Cut(first=True),
        Cut(length_normalised=True),
        Cut(spread=2, length_normalised=True),
        Cut(spread=2, length_normalised=True, includes_self=False),
        Cut(first=True, length_normalised=True, includes_self=False),
        Cut(spread=2, first=True, includes_self=False),
    ],
    4: [
        Cut(spread=4, full=True),
        Cut(spread=2, includes_self=False),
        Cut(spread=4, includes_self=False, full=True, seed=2),
        Cut(spread=2, first=True, vocab_size=8),
        Cut(length_normalised=True),
        Cut(spread=2, length_normalised=True),
        Cut(spread=4, length_normalised=True, includes_self=False, full=True, seed=2),
    ],
}


def grid_of(spread: int, rank: int, world_size: int) -> ProcessGrid:
    """Every rank makes all groups."""
    sets = [dist.new_group(ranks.tolist()) for ranks in torch.arange(world_size).view(-1, spread)]
    return ProcessGrid(dist.group.WORLD, sets[rank // spread])


@dataclass(frozen=True)
class Fault:
    """A number of one token that is not finite."""

    token: int
    field: str
    """ "hidden" or "log_probs"."""
    value: float


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
        segments.CPU = segments.BlockSizes(block_elements=cut.block_elements, block_tokens=1, padding_share=0.0)
        grid = grid_of(cut.spread, rank, dist.get_world_size())
        answers.append([found_with(fault, cut, rank, grid) for fault in faults])
    return answers


def found_with(fault: Fault | None, cut: Cut, rank: int, grid: ProcessGrid) -> Found:
    """What this rank finds if one number is not finite."""
    batch = cut.batch()
    log_probs = batch.exact_log_probs().float()
    if fault is not None and fault.token < len(log_probs):
        {"hidden": batch.hidden, "log_probs": log_probs}[fault.field][fault.token] = fault.value
    mine = (cut.owner(batch, dist.get_world_size()) == rank).nonzero()[:, 0]
    features = features_of(batch, log_probs, mine)
    if cut.full:
        vocabulary = GroupVocabulary.whole(len(cut.groups), cut.vocab_size, mine.device)
    else:
        keys = grid.union(vocabulary_keys(features.group, features.token_ids, cut.vocab_size))
        vocabulary = GroupVocabulary.from_keys(keys, len(cut.groups), cut.vocab_size)
    found = influence_scores(
        features,
        LMHeadRows(batch.unembedding),
        vocabulary,
        batch.group,
        batch.correct,
        grid,
        anchor_includes_self=cut.includes_self,
        length_normalised=cut.length_normalised,
    )
    return Found(mine.tolist(), found.scores.tolist(), found.anchors.tolist(), found.finite.tolist())


def features_of(batch: Batch, log_probs: torch.Tensor, tokens: torch.Tensor) -> TokenFeatures:
    hidden, token_ids, response = batch.hidden[tokens], batch.token_ids[tokens], batch.response[tokens]
    temperature = torch.full((len(tokens),), 0.6)
    log_normalizer = LMHeadRows(batch.unembedding).label_logits(hidden, token_ids) / temperature - log_probs[tokens]
    return TokenFeatures(
        hidden, token_ids, log_probs[tokens], log_normalizer, temperature, response, batch.group[response]
    )


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


def half_precision(rank: int) -> tuple[list[int], list[float], set[str]]:
    """Tokens and scores of this rank for hidden states in bfloat16, and the dtypes in which M⁺ is exchanged."""
    batch = random_batch(1, group_sizes=GROUPS, dtype=torch.bfloat16)
    grid, mine = grid_of(1, rank, 2), (batch.response % 2 == rank).nonzero()[:, 0]
    features = features_of(batch, batch.exact_log_probs().float(), mine)
    keys = grid.union(vocabulary_keys(features.group, features.token_ids, 23))
    vocabulary = GroupVocabulary.from_keys(keys, len(GROUPS), 23)
    with mock.patch.object(dist, "all_reduce", wraps=dist.all_reduce) as all_reduce:
        found = influence_scores(features, LMHeadRows(batch.unembedding), vocabulary, batch.group, batch.correct, grid)
    exchanged = (call.args[0] for call in all_reduce.call_args_list)
    return mine.tolist(), found.scores.tolist(), {str(x.dtype) for x in exchanged if x.shape[-1:] == (11,)}


def test_half_precision_is_exchanged_in_half_the_bytes() -> None:
    batch = random_batch(1, group_sizes=GROUPS, dtype=torch.bfloat16)
    expected, _ = influence_scores_reference(**batch.reference_arguments())
    scores = torch.full_like(expected, torch.nan)
    for tokens, found, dtypes in run_ranks(half_precision, 2):
        scores[tokens] = torch.tensor(found, dtype=torch.float64)
        assert dtypes == {"torch.bfloat16"}
    # a rounding to 8 bits of each entry of M⁺, on every rank and in their sum
    assert 0 < largest_error(scores, expected) < 2**-7


def failing_rank(rank: int, stage: str, spread: int) -> str:
    batch = random_batch(1, group_sizes=GROUPS)
    grid = grid_of(spread, rank, dist.get_world_size())
    features = features_of(batch, batch.exact_log_probs().float(), torch.arange(len(batch.response)))
    rows = LMHeadRows(batch.unembedding)
    if rank == 1 and stage == "counting":
        features.response.add_(len(batch.group))
    elif rank == 1:
        rows = LMHeadRows(rows.weight[:1])
    vocabulary = GroupVocabulary.from_keys(vocabulary_keys(features.group, batch.token_ids, 23), len(GROUPS), 23)
    try:
        influence_scores(
            features,
            rows,
            vocabulary,
            batch.group,
            batch.correct,
            grid,
            anchor_includes_self=stage != "others",
            length_normalised=stage == "counting",
        )
    except (ValueError, RuntimeError, IndexError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


@pytest.mark.parametrize("stage", ["counting", "scoring", "others"])
@pytest.mark.parametrize(("world_size", "spread"), [(3, 1), (2, 2), (4, 2)])
def test_an_error_on_one_rank_is_raised_on_every_rank(stage: str, world_size: int, spread: int) -> None:
    answers = run_ranks(failing_rank, world_size, stage, spread)
    error = answers.pop(1)
    assert error.startswith("IndexError: ")
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

    def fail(error: Exception) -> None:
        raise error

    found = []
    for errors in cases:
        deferred, error = DeferredErrors(dist.group.WORLD), "no error"
        with mock.patch.object(dist, "all_reduce", wraps=dist.all_reduce) as all_reduce:
            try:
                if rank in errors:
                    deferred.attempt(fail, errors[rank])
                    assert deferred.attempt(dist.barrier) is None  # is not run after an error
                deferred.raise_together(torch.device("cpu"))
            except Exception as raised:  # noqa: BLE001 - its type and text are what is wanted
                error = f"{type(raised).__name__}: {raised}"
        found.append((error, [call.args[0].numel() for call in all_reduce.call_args_list]))
    return found


def test_what_the_ranks_agree_on() -> None:
    answers = run_ranks(agreements, 4, [errors for errors, _ in AGREEMENTS])
    for index, (errors, expected) in enumerate(AGREEMENTS):
        assert [answer[index][0] for answer in answers] == expected, errors
        sizes = [2, 1, MESSAGE_LENGTH] if errors else [2]
        assert [answer[index][1] for answer in answers] == [sizes] * 4, errors


def test_one_process_raises_its_own_error_but_a_shortage_of_memory_as_agreed() -> None:
    def fail(error: Exception) -> None:
        raise error

    def raised(error: Exception) -> Exception:
        deferred = DeferredErrors()
        deferred.attempt(fail, error)
        with pytest.raises(type(error)) as found:
            deferred.raise_together(torch.device("cpu"))
        return found.value

    assert raised(BUG) is BUG
    assert isinstance(raised(SHORTAGE), AgreedOutOfMemory)
