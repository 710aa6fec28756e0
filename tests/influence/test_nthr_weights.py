"""nthr_weights against the float64 double sums."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.influence.batches import Batch, largest_error, random_batch
from verl_nthr import NTHRResult, nthr_weights, nthr_weights_reference

TOLERANCE = 1e-5


def check_against_reference(batch: Batch, result: NTHRResult, tolerance: float = TOLERANCE, **options) -> None:
    expected = nthr_weights_reference(**batch.reference_arguments(), **options)
    assert result.scores.dtype == torch.float32
    assert largest_error(result.scores, expected.scores) <= tolerance
    scale = expected.scores.abs().max() if expected.scores.numel() else torch.tensor(0.0)
    # anchors are means of scores, with signs that may cancel
    for name, limit in (("anchors", scale), ("threshold", 4 * scale), ("success_rate", 1.0), ("eta", 1.0)):
        actual, wanted = getattr(result, name), getattr(expected, name)
        assert torch.equal(actual.isfinite(), wanted.isfinite()), name
        assert torch.equal(actual.isnan(), wanted.isnan()), name
        difference = (actual.double() - wanted)[wanted.isfinite()].abs()
        assert (difference <= tolerance * limit).all(), name
    # a score within the error of τ may fall on either side
    padded = torch.cat([expected.threshold, torch.tensor([torch.nan], dtype=torch.float64)])
    margin = (expected.scores - padded[batch.group[batch.response]]).abs()
    clear = margin.isnan() | (margin > 10 * tolerance * scale)
    assert torch.equal(result.selected[clear], expected.selected[clear])
    assert torch.allclose(result.weight[clear].double(), expected.weight[clear], atol=1e-6)
    assert torch.equal(result.weight[~result.selected], torch.ones_like(result.weight[~result.selected]))


options = st.fixed_dictionaries(
    {
        "beta": st.sampled_from([1.0, 0.0, 0.1, -1.0, 3.5, -math.inf]),
        "eta": st.sampled_from(["balanced", "p", "1-p", 0, 0.25, 1.0]),
        "vocabulary": st.sampled_from(["response", "full"]),
        "anchor_includes_self": st.booleans(),
    }
)
shapes = st.fixed_dictionaries(
    {
        "group_sizes": st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple),
        "longest": st.integers(1, 9),
        "dim": st.integers(1, 33),
        "vocab_size": st.integers(2, 40),
        "with_bias": st.booleans(),
        "per_response_temperature": st.booleans(),
        "padding_rows": st.integers(0, 3),
        "empty_responses": st.booleans(),
    }
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), shape=shapes, options=options, with_log_probs=st.booleans())
def test_any_ragged_batch(seed: int, shape: dict, options: dict, with_log_probs: bool) -> None:
    batch = random_batch(seed, **shape)
    log_probs = batch.exact_log_probs().float() if with_log_probs else None
    check_against_reference(batch, nthr_weights(**batch.arguments(log_probs), **options), **options)


@pytest.mark.parametrize("with_log_probs", [True, False])
@pytest.mark.parametrize("logit_scale", [1e-4, 10.0, 30.0])
def test_tiny_and_huge_logits(logit_scale: float, with_log_probs: bool) -> None:
    batch = random_batch(5, group_sizes=(8, 8), longest=12, dim=32, vocab_size=64, logit_scale=logit_scale)
    log_probs = batch.exact_log_probs().float() if with_log_probs else None
    logits = batch.hidden.double() @ batch.unembedding.double().T / 0.6
    # float32 cannot know exp(logit) better than eps · |logit|
    tolerance = max(TOLERANCE, 2 * torch.finfo(torch.float32).eps * float(logits.abs().max()))
    check_against_reference(batch, nthr_weights(**batch.arguments(log_probs)), tolerance)


def test_certain_tokens_keep_their_small_errors() -> None:
    """Where π_y → 1 the error 1 − π_y is computed from log π without cancellation."""
    hidden = torch.eye(4)[[0, 1, 0, 1]]
    unembedding = torch.eye(4) * 14.0
    arguments = {
        "hidden": hidden,
        "token_ids": torch.tensor([0, 1, 0, 1]),
        "response": torch.tensor([0, 0, 1, 1]),
        "group": torch.tensor([0, 0]),
        "correct": torch.tensor([True, False]),
        "unembedding": unembedding,
    }
    expected = nthr_weights_reference(**arguments).scores
    exact = torch.log_softmax(hidden.double() @ unembedding.double().T, -1).gather(1, arguments["token_ids"][:, None])
    scores = nthr_weights(log_probs=exact[:, 0].float(), **arguments).scores
    assert ((scores - expected).abs() / expected.abs()).max() < 1e-5


def test_bfloat16_inputs_are_accumulated_in_float32() -> None:
    batch = random_batch(3, group_sizes=(6, 5), longest=9, dim=64, vocab_size=50, dtype=torch.bfloat16)
    check_against_reference(batch, nthr_weights(**batch.arguments(batch.exact_log_probs().float())))


def test_one_correct_of_many_and_one_token_each() -> None:
    batch = random_batch(8, group_sizes=(8,), longest=1, empty_responses=False)
    batch.correct = torch.arange(8) == 3
    for includes_self in (True, False):
        result = nthr_weights(**batch.arguments(None), anchor_includes_self=includes_self)
        check_against_reference(batch, result, anchor_includes_self=includes_self)
    assert result.threshold.tolist() == [0.0]
    assert result.success_rate.tolist() == [0.125]
    assert result.eta.tolist() == [0.75]


@pytest.mark.parametrize("all_correct", [True, False])
def test_homogeneous_groups_select_nothing(all_correct: bool) -> None:
    batch = random_batch(2)
    batch.correct[:] = all_correct
    result = nthr_weights(**batch.arguments(None), beta=-math.inf, eta=0)
    assert not result.selected.any()
    assert (result.weight == 1).all()


def test_beta_minus_infinity_selects_every_token_of_wrong_answers_in_mixed_groups() -> None:
    batch = random_batch(4, group_sizes=(5, 5), empty_responses=False)
    batch.correct = (torch.arange(10) % 2 == 0) & (batch.group == 0)
    batch.correct[(batch.group == 0).nonzero()[:2, 0]] = torch.tensor([True, False])
    result = nthr_weights(**batch.arguments(None), beta=-math.inf, eta=0)
    wrong_in_mixed = ~batch.correct[batch.response] & (batch.group[batch.response] == 0)
    assert torch.equal(result.selected, wrong_in_mixed)


def test_the_order_of_tokens_does_not_matter() -> None:
    batch = random_batch(6, group_sizes=(6, 6), longest=9)
    order = torch.randperm(len(batch.response), generator=torch.Generator().manual_seed(0))
    shuffled = batch.arguments(None) | {
        name: getattr(batch, name)[order] for name in ("hidden", "token_ids", "response")
    }
    first, second = nthr_weights(**batch.arguments(None)), nthr_weights(**shuffled)
    assert largest_error(second.scores, first.scores[order]) < 1e-6
    assert torch.equal(second.selected, first.selected[order])


def test_padding_rows_change_nothing() -> None:
    batch = random_batch(7, group_sizes=(5,), padding_rows=3, empty_responses=False)
    kept = batch.group[batch.response] >= 0
    without = batch.arguments(None) | {name: getattr(batch, name)[kept] for name in ("hidden", "token_ids", "response")}
    padded, plain = nthr_weights(**batch.arguments(None)), nthr_weights(**without)
    assert torch.equal(padded.scores[kept], plain.scores)
    assert (padded.scores[~kept] == 0).all()
    assert (padded.weight[~kept] == 1).all()


def test_no_tokens() -> None:
    batch = random_batch(0, group_sizes=(2,))
    empty = batch.arguments(None) | {name: getattr(batch, name)[:0] for name in ("hidden", "token_ids", "response")}
    result = nthr_weights(**empty)
    assert result.scores.shape == (0,)
    assert result.threshold.isnan().all()
