"""thr_weights against the float64 double sums, and its weights by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.influence.batches import Batch, largest_error, random_batch
from tests.influence.test_nthr_weights import shapes
from verl_nthr import THRResult, nthr_weights, thr_weights, thr_weights_reference
from verl_nthr.influence.thr import check_rho, thr_token_weights

TOLERANCE = 1e-5


def check_against_reference(batch: Batch, result: THRResult, **options) -> None:
    expected = thr_weights_reference(**batch.reference_arguments(), **options)
    assert result.scores.dtype == result.weight.dtype == torch.float32
    assert largest_error(result.scores, expected.scores) <= TOLERANCE
    scale = expected.scores.abs().max() if expected.scores.numel() else torch.tensor(0.0)
    # anchors are means of scores, with signs that may cancel
    for name, limit in (("anchors", scale), ("threshold", 4 * scale), ("success_rate", 1.0)):
        actual, wanted = getattr(result, name), getattr(expected, name)
        assert torch.equal(actual.isfinite(), wanted.isfinite()), name
        assert torch.equal(actual.isnan(), wanted.isnan()), name
        assert ((actual.double() - wanted)[wanted.isfinite()].abs() <= TOLERANCE * limit).all(), name
    # |THR| within the error of τ may fall on either side, and THR within the error of 0 have either sign
    padded = torch.cat([expected.threshold, torch.tensor([torch.nan], dtype=torch.float64)])
    margin = (expected.scores.abs() - padded[batch.group[batch.response]].clamp_min(0.0)).abs()
    clear = margin.isnan() | (margin > 10 * TOLERANCE * scale)
    assert torch.allclose(result.weight[clear].double(), expected.weight[clear], atol=1e-6)


options = st.fixed_dictionaries(
    {
        "beta": st.sampled_from([1.0, 0.0, 0.1, -1.0, 3.5, -math.inf]),
        "rho": st.sampled_from([0.1, -0.1, 0.0, 0.99]),
        "vocabulary": st.sampled_from(["response", "full"]),
        "anchor_includes_self": st.booleans(),
    }
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), shape=shapes, options=options, with_log_probs=st.booleans())
def test_any_ragged_batch(seed: int, shape: dict, options: dict, with_log_probs: bool) -> None:
    batch = random_batch(seed, **shape)
    log_probs = batch.exact_log_probs().float() if with_log_probs else None
    check_against_reference(batch, thr_weights(**batch.arguments(log_probs), **options), **options)


def test_the_batches_have_tokens_of_every_kind() -> None:
    """Or else the comparison with the reference would compare ones with ones."""
    batch = random_batch(2, group_sizes=(8, 8), longest=15)
    weight = thr_weights(**batch.arguments(None), beta=0.1, rho=0.25).weight
    assert weight.unique().tolist() == [0.0, 0.75, 1.25]
    of_correct = batch.correct[batch.response]
    for kind in (of_correct, ~of_correct):
        assert weight[kind].unique().tolist() == [0.0, 0.75, 1.25]


def test_weights_by_hand() -> None:
    """τ = 2 for four tokens of a correct response and four of an incorrect one, then τ = −1, then no τ and no score."""
    scores = torch.tensor([3.0, -3.0, 2.0, -1.0, 3.0, -3.0, 2.0, -1.0, 0.5, -0.5, 0.0, 5.0, torch.nan])
    correct = torch.tensor([True] * 4 + [False] * 4 + [True, False, True, False, True])
    threshold = torch.tensor([2.0] * 8 + [-1.0] * 3 + [torch.nan, 2.0])
    dominant = torch.tensor([1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0])
    up = torch.tensor([1.25, 0.75, 0.0, 0.0, 0.75, 1.25, 0.0, 0.0, 1.25, 1.25, 0.0, 1.0, 1.0])
    down = torch.tensor([0.75, 1.25, 0.0, 0.0, 1.25, 0.75, 0.0, 0.0, 0.75, 0.75, 0.0, 1.0, 1.0])
    for rho, expected in ((0.0, dominant), (0.25, up), (-0.25, down)):
        weight = thr_token_weights(scores, correct, threshold, rho)
        assert weight.dtype == torch.float32
        assert torch.equal(weight, expected)


def test_a_group_by_hand() -> None:
    """Hidden states of one dimension and logits of 0 over two tokens: every product of errors is ±1/2."""
    result = thr_weights(
        hidden=torch.tensor([[2.0], [4.0], [1.0], [3.0], [6.0]]),
        token_ids=torch.tensor([0, 0, 0, 0, 1]),
        log_probs=None,
        response=torch.tensor([0, 0, 1, 2, 2]),
        group=torch.tensor([0, 0, 0]),
        correct=torch.tensor([True, True, False]),
        unembedding=torch.zeros(2, 1),
    )
    # M⁺ h = g₀ · ((2 + 4)/2 + 1) · h = 4 h g₀ and ⟨g₀, g₀⟩ = 1/2, ⟨g₀, g₁⟩ = −1/2
    assert result.scores.tolist() == [4.0, 8.0, 2.0, -6.0, 12.0]
    assert result.anchors[:2].tolist() == [6.0, 2.0]
    assert result.threshold.tolist() == [2.0]
    assert torch.equal(result.weight, torch.tensor([1.1, 1.1, 0.0, 0.9, 1.1]))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), shape=shapes, beta=st.sampled_from([1.0, 0.1, -1.0, -math.inf]))
def test_without_rho_a_token_counts_or_not(seed: int, shape: dict, beta: float) -> None:
    weight = thr_weights(**random_batch(seed, **shape).arguments(None), beta=beta, rho=0).weight
    assert ((weight == 0) | (weight == 1)).all()


@settings(max_examples=50, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), shape=shapes, exponent=st.integers(-3, 3), includes_self=st.booleans())
def test_weights_do_not_depend_on_the_scale_of_hidden_states(
    seed: int, shape: dict, exponent: int, includes_self: bool
) -> None:
    """Powers of 2 scale exactly: the logits stay, scores and τ grow by the square."""
    batch, scale = random_batch(seed, **shape), 2.0**exponent
    plain = thr_weights(**batch.arguments(None), anchor_includes_self=includes_self)
    batch.hidden, batch.unembedding = batch.hidden * scale, batch.unembedding / scale
    scaled = thr_weights(**batch.arguments(None), anchor_includes_self=includes_self)
    assert torch.equal(scaled.scores, plain.scores * scale**2)
    assert torch.equal(scaled.threshold.nan_to_num(-7.0), (plain.threshold * scale**2).nan_to_num(-7.0))
    assert torch.equal(scaled.weight, plain.weight)


def test_scores_are_those_of_nthr_where_all_lengths_are_one() -> None:
    batch = random_batch(5, group_sizes=(6, 5), longest=1, empty_responses=False)
    thr, nthr = thr_weights(**batch.arguments(None)), nthr_weights(**batch.arguments(None))
    sign = torch.where(batch.correct[batch.response], 1.0, -1.0)
    assert torch.equal(thr.scores, sign * nthr.scores)
    assert torch.equal(thr.threshold, nthr.threshold)


def test_repeating_a_correct_response_within_itself_changes_nothing() -> None:
    """Its mean over tokens stays, so scores of all tokens stay; NTHR's sums grow."""
    batch = random_batch(9, group_sizes=(5,), empty_responses=False)
    batch.correct = torch.tensor([True, False, True, False, False])
    again = (batch.response == 0).nonzero()[:, 0]
    order = torch.cat([torch.arange(len(batch.response)), again])
    repeated = batch.arguments(None) | {
        name: getattr(batch, name)[order] for name in ("hidden", "token_ids", "response")
    }
    for includes_self in (True, False):
        once = thr_weights(**batch.arguments(None), anchor_includes_self=includes_self)
        twice = thr_weights(**repeated, anchor_includes_self=includes_self)
        assert largest_error(twice.scores, once.scores[order]) < TOLERANCE
        # without themselves they nearly cancel: their rounding is that of the scores
        difference = (twice.anchors - once.anchors)[[0, 2]].abs().max()
        assert difference < TOLERANCE * once.scores.abs().max()
    assert largest_error(nthr_weights(**repeated).scores, nthr_weights(**batch.arguments(None)).scores[order]) > 0.1


@pytest.mark.parametrize("all_correct", [True, False])
def test_homogeneous_groups_keep_their_weights(all_correct: bool) -> None:
    batch = random_batch(2)
    batch.correct[:] = all_correct
    result = thr_weights(**batch.arguments(None))
    assert (result.weight == 1).all()
    assert bool(result.scores.any()) == all_correct


def test_a_mixed_group_whose_correct_responses_are_empty_keeps_its_weights() -> None:
    batch = random_batch(3, group_sizes=(4,), empty_responses=False)
    batch.correct = torch.tensor([True, False, False, False])
    kept = batch.response != 0
    without = batch.arguments(None) | {name: getattr(batch, name)[kept] for name in ("hidden", "token_ids", "response")}
    result = thr_weights(**without)
    assert result.threshold.isnan().all()
    assert (result.weight == 1).all()


def test_a_lone_correct_response_without_its_own_influence() -> None:
    """τ = 0: every token whose THR is not 0 counts."""
    batch = random_batch(8, group_sizes=(8,), longest=3, empty_responses=False)
    batch.correct = torch.arange(8) == 3
    result = thr_weights(**batch.arguments(None), anchor_includes_self=False)
    check_against_reference(batch, result, anchor_includes_self=False)
    assert result.threshold.tolist() == [0.0]
    assert torch.equal(result.weight, 1 + 0.1 * result.scores.sign())


def test_padding_rows_change_nothing() -> None:
    batch = random_batch(7, group_sizes=(5,), padding_rows=3, empty_responses=False)
    kept = batch.group[batch.response] >= 0
    without = batch.arguments(None) | {name: getattr(batch, name)[kept] for name in ("hidden", "token_ids", "response")}
    padded, plain = thr_weights(**batch.arguments(None)), thr_weights(**without)
    assert torch.equal(padded.scores[kept], plain.scores)
    assert torch.equal(padded.weight[kept], plain.weight)
    assert (padded.scores[~kept] == 0).all()
    assert (padded.weight[~kept] == 1).all()


def test_no_tokens() -> None:
    batch = random_batch(0, group_sizes=(2,))
    empty = batch.arguments(None) | {name: getattr(batch, name)[:0] for name in ("hidden", "token_ids", "response")}
    result = thr_weights(**empty)
    assert result.weight.shape == (0,)
    assert result.threshold.isnan().all()


@pytest.mark.parametrize("rho", [1, -1.0, 2, math.nan, math.inf, True, "0.1", None])
def test_wrong_rho(rho: object) -> None:
    with pytest.raises(ValueError, match=f"rho={rho!r}: use a number between -1 and 1"):
        check_rho(rho)
    with pytest.raises(ValueError, match="rho="):
        thr_weights(**random_batch(1).arguments(None), rho=rho)
