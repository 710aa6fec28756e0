"""Both terms against loops over tokens, and their gradients against what the formulas say of each token."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.losses.batches import Batch, make_batch
from verl_nthr.losses.llds import llds
from verl_nthr.losses.positive_nll import positive_nll

SEEDS = range(5)

Term = Callable[[Tensor, Batch], Tensor]


def nll_term(log_probs: Tensor, batch: Batch) -> Tensor:
    return positive_nll(log_probs, batch.mask, batch.chosen, batch.num_tokens)


def llds_term(log_probs: Tensor, batch: Batch) -> Tensor:
    return llds(log_probs, batch.old_log_probs, batch.mask, batch.chosen, batch.num_tokens)[0]


TERMS = [nll_term, llds_term]


def with_gradient(term: Term, batch: Batch) -> tuple[float, Tensor]:
    log_probs = batch.log_probs.clone().requires_grad_()
    value = term(log_probs, batch)
    value.backward()
    return value.item(), log_probs.grad


@pytest.mark.parametrize("seed", SEEDS)
def test_positive_nll_is_the_mean_over_the_tokens_of_chosen_rows(seed: int) -> None:
    batch = make_batch(seed)
    total, count, slope = 0.0, 0, torch.zeros_like(batch.log_probs)
    for i, row in enumerate(batch.log_probs.tolist()):
        for k, log_prob in enumerate(row):
            if batch.chosen[i] and batch.mask[i, k]:
                total, count, slope[i, k] = total - log_prob, count + 1, -1.0
    value, gradient = with_gradient(nll_term, batch)
    assert count > 0
    assert value == pytest.approx(total / count, rel=1e-12)
    torch.testing.assert_close(gradient, slope / count, rtol=1e-12, atol=0)


@pytest.mark.parametrize("seed", SEEDS)
def test_llds_is_the_fall_of_rows_that_have_become_less_likely(seed: int) -> None:
    batch = make_batch(seed)
    total, count, gates, slope = 0.0, 0, [], torch.zeros_like(batch.log_probs)
    for i in range(len(batch.mask)):
        places = [k for k in range(batch.mask.shape[1]) if batch.chosen[i] and batch.mask[i, k]]
        falls = {k: float(batch.old_log_probs[i, k] - batch.log_probs[i, k]) for k in places}
        gates.append(sum(falls.values()) > 0)
        count += len(places)
        for k, fall in falls.items():
            if gates[-1] and fall > 0:
                total, slope[i, k] = total + fall, -1.0
    value, gradient = with_gradient(llds_term, batch)
    is_open = llds(batch.log_probs, batch.old_log_probs, batch.mask, batch.chosen, batch.num_tokens)[1]
    assert is_open.tolist() == gates
    assert any(gates)
    assert not all(gate for gate, chosen in zip(gates, batch.chosen, strict=True) if chosen)
    assert value == pytest.approx(total / count, rel=1e-12)
    torch.testing.assert_close(gradient, slope / count, rtol=1e-12, atol=0)


def test_llds_is_zero_and_without_gradient_where_nothing_has_moved() -> None:
    batch = make_batch(0)
    unmoved = dataclasses.replace(batch, log_probs=batch.old_log_probs)
    value, gradient = with_gradient(llds_term, unmoved)
    assert value == 0
    assert not gradient.any()


@pytest.mark.parametrize("garbage", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("term", TERMS)
def test_what_is_outside_masks_and_rows_changes_nothing(term: Term, garbage: float) -> None:
    batch = make_batch(1)
    outside = ~(batch.mask & batch.chosen[:, None])
    dirty = Batch(
        batch.log_probs.masked_fill(outside, garbage),
        batch.old_log_probs.masked_fill(outside, garbage),
        batch.mask,
        batch.chosen,
    )
    (value, gradient), (dirty_value, dirty_gradient) = with_gradient(term, batch), with_gradient(term, dirty)
    assert dirty_value == value
    assert torch.equal(dirty_gradient, gradient)


@pytest.mark.parametrize("term", TERMS)
def test_no_chosen_row_gives_zero(term: Term) -> None:
    batch = make_batch(2)
    value, gradient = with_gradient(term, dataclasses.replace(batch, chosen=torch.zeros_like(batch.chosen)))
    assert value == 0
    assert not gradient.any()


@pytest.mark.parametrize("cuts", [[0, 8], [0, 4, 8], [0, 1, 6, 7, 8]])
def test_micro_batches_add_up_and_ranks_average(cuts: list[int]) -> None:
    batch = make_batch(3)
    settings = batch.num_tokens, 2
    parts = [slice(start, stop) for start, stop in itertools.pairwise(cuts)]
    nll = sum(positive_nll(batch.log_probs[p], batch.mask[p], batch.chosen[p], *settings) for p in parts)
    fall = sum(
        llds(batch.log_probs[p], batch.old_log_probs[p], batch.mask[p], batch.chosen[p], *settings)[0] for p in parts
    )
    assert float(nll) / 2 == pytest.approx(float(nll_term(batch.log_probs, batch)), rel=1e-12)
    assert float(fall) / 2 == pytest.approx(float(llds_term(batch.log_probs, batch)), rel=1e-12)
