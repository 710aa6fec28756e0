"""Runs of unequal sizes in buckets."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.influence.batches import Batch, largest_error, random_batch
from verl_nthr import (
    NTHRResult,
    THRResult,
    nthr_weights,
    nthr_weights_reference,
    thr_weights,
    thr_weights_reference,
)
from verl_nthr.influence import segments
from verl_nthr.influence.segments import ACCELERATOR, CPU, BlockSizes, TokenSegments, padded_places, plan_buckets

DIM = 64

sizes = st.integers(0, 300) | st.integers(0, 40_000)
runs = st.lists(st.tuples(sizes, sizes), max_size=40)


@given(runs, st.sampled_from([CPU, ACCELERATOR]))
def test_every_run_is_in_one_bucket_of_bounded_size_and_padding(
    runs: list[tuple[int, int]], limits: BlockSizes
) -> None:
    counts, widths = [count for count, _ in runs], [width for _, width in runs]
    buckets = plan_buckets(counts, widths, DIM, limits)
    held = [i for i, (count, width) in enumerate(runs) if count and width]
    assert sorted(i for bucket in buckets for i in bucket) == held
    for bucket in buckets:
        longest, widest = max(counts[i] for i in bucket), max(widths[i] for i in bucket)
        padded, area = len(bucket) * longest * widest, sum(counts[i] * widths[i] for i in bucket)
        assert padded - area <= limits.padding_share * area + segments.PADDING_ELEMENTS
        if len(bucket) > 1:
            blocks = (longest * widest, longest * DIM, widest * DIM)
            assert len(bucket) * max(blocks) <= limits.block_elements


def test_runs_of_equal_sizes_share_a_bucket() -> None:
    assert plan_buckets([128] * 20, [300] * 20, DIM, CPU) == [list(range(20))]


def test_places_in_the_padding_are_those_of_the_last_element() -> None:
    index, inside = padded_places(torch.tensor([4, 0]), torch.tensor([1, 3]), torch.arange(4))
    assert index.tolist() == [[4, 4, 4, 4], [0, 1, 2, 2]]
    assert inside.tolist() == [[True, False, False, False], [True, True, True, False]]


def test_some_of_the_runs() -> None:
    assert TokenSegments([0, 3, 5], [3, 2, 4], [0, 1, 2])[[2, 0]] == TokenSegments([5, 0], [4, 3], [2, 0])


@functools.cache
def batch_and_reference(
    seed: int, includes_self: bool, reference: Callable[..., NTHRResult | THRResult]
) -> tuple[Batch, NTHRResult | THRResult]:
    batch = random_batch(seed, group_sizes=(5, 1, 8, 2, 3), longest=15, with_bias=seed % 2 == 0)
    return batch, reference(**batch.reference_arguments(), anchor_includes_self=includes_self)


@pytest.mark.parametrize(
    ("function", "reference"),
    [(nthr_weights, nthr_weights_reference), (thr_weights, thr_weights_reference)],
    ids=["nthr", "thr"],
)
@pytest.mark.parametrize("includes_self", [True, False])
@pytest.mark.parametrize(
    ("block", "padding"), [(1 << 24, 0), (1 << 24, 40), (200, 40), (200, 1 << 16), (1, 0)], ids=str
)
def test_buckets_do_not_change_a_score(
    monkeypatch: pytest.MonkeyPatch,
    block: int,
    padding: int,
    includes_self: bool,
    function: Callable[..., NTHRResult | THRResult],
    reference: Callable[..., NTHRResult | THRResult],
) -> None:
    monkeypatch.setattr(segments, "CPU", BlockSizes(block, block_tokens=1, padding_share=0.25))
    monkeypatch.setattr(segments, "PADDING_ELEMENTS", padding)
    for seed in range(4):
        batch, expected = batch_and_reference(seed, includes_self, reference)
        found = function(**batch.arguments(None), anchor_includes_self=includes_self)
        assert largest_error(found.scores, expected.scores) < 1e-5
        held = ~expected.anchors.isnan()
        assert torch.equal(held, ~found.anchors.isnan())
        assert largest_error(found.anchors[held], expected.anchors[held]) < 1e-5
