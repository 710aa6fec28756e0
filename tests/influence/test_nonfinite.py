"""A number that is not finite makes its group do without weights, and changes nothing in another group."""

from __future__ import annotations

import dataclasses
import math
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.influence.batches import Batch, random_batch
from tests.influence.test_process_grid import Cut, Fault, Found, sharded_scores
from tests.processes import run_ranks
from verl_nthr import NTHRResult, THRResult, nthr_weights, nthr_weights_reference, thr_weights, thr_weights_reference
from verl_nthr.influence import segments

NAN, INF = math.nan, math.inf
FAULTS = [("hidden", NAN), ("hidden", INF), ("log_probs", NAN), ("log_probs", -INF), ("log_probs", INF)]
METHODS = {"nthr": nthr_weights, "thr": thr_weights}


def weigh(method: str, batch: Batch, log_probs: torch.Tensor, **options: object) -> NTHRResult | THRResult:
    arguments = batch.reference_arguments()
    ids, hidden = arguments.pop("token_ids"), arguments.pop("hidden")
    # β = 0 selects something in most groups
    return METHODS[method](hidden, ids, log_probs, **arguments, beta=0.0, **options)


def faulted(batch: Batch, log_probs: torch.Tensor, token: int, field: str, value: float) -> tuple[Batch, torch.Tensor]:
    hidden, log_probs = batch.hidden.clone(), log_probs.clone()
    {"hidden": hidden, "log_probs": log_probs}[field][token] = value
    return dataclasses.replace(batch, hidden=hidden), log_probs


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    sizes=st.lists(st.integers(2, 5), min_size=2, max_size=4),
    place=st.integers(0, 10_000),
    fault=st.sampled_from(FAULTS),
    method=st.sampled_from(list(METHODS)),
    vocabulary=st.sampled_from(["response", "full"]),
    includes_self=st.booleans(),
    limits=st.sampled_from([segments.CPU, segments.ACCELERATOR, segments.BlockSizes(30, 1, 0.0)]),
)
def test_one_token_costs_its_group_the_weights_and_other_groups_not_a_bit(
    seed: int,
    sizes: list[int],
    place: int,
    fault: tuple[str, float],
    method: str,
    vocabulary: str,
    includes_self: bool,
    limits: segments.BlockSizes,
) -> None:
    batch = random_batch(seed, group_sizes=tuple(sizes), padding_rows=1)
    inside = (batch.group[batch.response] >= 0).nonzero()[:, 0]
    if not len(inside):
        return
    token = int(inside[place % len(inside)])
    log_probs = batch.exact_log_probs().float()
    options = {"vocabulary": vocabulary, "anchor_includes_self": includes_self}
    with mock.patch.object(segments, "CPU", limits):
        sound = weigh(method, batch, log_probs, **options)
        found = weigh(method, *faulted(batch, log_probs, token, *fault), **options)

    bad = int(batch.group[batch.response[token]])
    assert sound.finite.all()
    assert found.finite.tolist() == [x != bad for x in range(len(sizes))]
    mine = batch.group[batch.response] == bad
    assert found.scores[mine].isnan().all()
    assert found.anchors[batch.group == bad].isnan().all()
    assert found.threshold[bad].isnan()
    assert (found.weight[mine] == 1).all()
    if isinstance(found, NTHRResult):
        assert not found.selected[mine].any()
        assert torch.equal(found.selected[~mine], sound.selected[~mine])
    assert torch.equal(found.scores[~mine], sound.scores[~mine])
    assert torch.equal(found.weight[~mine], sound.weight[~mine])
    for name in ("anchors", "threshold"):
        others = (batch.group if name == "anchors" else torch.arange(len(sizes))) != bad
        torch.testing.assert_close(
            getattr(found, name)[others], getattr(sound, name)[others], rtol=0, atol=0, equal_nan=True
        )


def test_numbers_that_overflow_are_not_finite_whatever_they_come_from() -> None:
    batch = random_batch(0, group_sizes=(4, 4))
    token = int(batch.correct[batch.response].nonzero()[0, 0])
    found = weigh("nthr", *faulted(batch, batch.exact_log_probs().float(), token, "hidden", 3e38))
    bad = int(batch.group[batch.response[token]])
    assert found.finite.tolist() == [x != bad for x in range(2)]


def overflowing_anchor(length: int) -> NTHRResult:
    """``length`` tokens of the correct response, whose scores are all the same, and one of the wrong response."""
    # g = ±(½, −½) and h = 0.9e19: with eight tokens s = 8·½·h² = 3.24e38, within float32, but not their sum
    hidden = torch.full((length + 1, 1), 0.9e19)
    token_ids = torch.tensor([0] * length + [1])
    response = torch.tensor([0] * length + [1])
    log_probs = torch.full((length + 1,), -math.log(2))
    return nthr_weights(
        hidden, token_ids, log_probs, response, torch.tensor([0, 0]), torch.tensor([True, False]), torch.zeros(2, 1)
    )


def test_the_anchor_of_a_correct_response_counts() -> None:
    assert overflowing_anchor(1).finite.all()
    found = overflowing_anchor(8)
    assert not found.finite.any()
    assert found.threshold.isnan().all()
    assert found.weight.tolist() == [1.0] * 9


def test_a_correct_response_without_tokens_is_no_fault() -> None:
    batch = random_batch(3, group_sizes=(3,))
    empty = dataclasses.replace(batch, group=torch.zeros(4).long(), correct=torch.tensor([False, False, True, True]))
    found = weigh("nthr", empty, empty.exact_log_probs().float())
    assert found.finite.all()
    assert found.anchors[3].isnan()


@pytest.mark.parametrize("wrong", [True, False])
def test_the_reference_says_the_same(wrong: bool) -> None:
    batch = random_batch(1, group_sizes=(4, 4), empty_responses=False)
    token = int((batch.correct[batch.response] != wrong).nonzero()[0, 0])
    batch.hidden[token] = NAN
    for fast, reference in ((nthr_weights, nthr_weights_reference), (thr_weights, thr_weights_reference)):
        arguments = batch.reference_arguments()
        expected = reference(**arguments, beta=0.0)
        found = fast(**arguments, log_probs=None, beta=0.0)
        assert found.finite.tolist() == expected.finite.tolist() != [True, True]
        for name in ("scores", "anchors", "threshold", "weight"):
            torch.testing.assert_close(
                getattr(found, name).double(), getattr(expected, name), rtol=1e-4, atol=1e-4, equal_nan=True
            )


CUTS = [
    Cut(),
    Cut(includes_self=False),
    Cut(length_normalised=True),
    Cut(first=True),
    Cut(spread=2, includes_self=False),
    Cut(spread=2, includes_self=False, length_normalised=True),
    # a rank lacks the tokens of a group's last responses, and those of another group come next to its others
    Cut(spread=2, includes_self=False, groups=(3, 3, 3), longest=2, seed=3, block_elements=1 << 20),
]


def faults_of(tokens: int) -> list[Fault]:
    """One in every token."""
    return [Fault(token, *FAULTS[token % len(FAULTS)]) for token in range(tokens)]


def by_token(answers: list[Found]) -> dict[int, list[float]]:
    """The scores of every token on the ranks that hold it."""
    scores: dict[int, list[float]] = {}
    for answer in answers:
        for token, score in zip(answer.tokens, answer.scores, strict=True):
            scores.setdefault(token, []).append(score)
    return scores


def test_two_ranks_agree_about_a_group_that_one_of_them_cannot_score() -> None:
    batches = [cut.batch() for cut in CUTS]
    faults = faults_of(max(len(batch.response) for batch in batches))
    results = run_ranks(sharded_scores, 2, CUTS, [None, *faults])
    for result in results:
        if isinstance(result, Exception):
            raise result
    for index, (cut, batch) in enumerate(zip(CUTS, batches, strict=True)):
        group = batch.group[batch.response]
        sound, *found = ([of_rank[index][k] for of_rank in results] for k in range(1 + len(faults)))
        expected = by_token(sound)
        # of the faults, a short batch has the first
        for fault, answers in zip(faults[: len(group)], found, strict=False):
            bad = int(group[fault.token])
            for answer, before in zip(answers, sound, strict=True):
                assert answer.finite == [x != bad for x in range(len(cut.groups))], (cut, fault)
                for x, anchor, other in zip(batch.group.tolist(), answer.anchors, before.anchors, strict=True):
                    assert math.isnan(anchor) if x == bad else anchor == pytest.approx(other, abs=0, rel=0, nan_ok=True)
            for token, scores in by_token(answers).items():
                if group[token] == bad:
                    assert all(math.isnan(score) for score in scores), (cut, fault)
                else:
                    assert scores == expected[token], (cut, fault)
