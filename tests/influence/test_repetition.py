"""Another order of the tokens and other blocks give other roundings: weights differ only next to the threshold."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.influence.batches import Batch, random_batch
from verl_nthr import NTHRResult, nthr_weights
from verl_nthr.influence import scores, segments

BOUND = 1e-5


def weights(batch: Batch, beta: float) -> NTHRResult:
    return nthr_weights(**batch.arguments(None), beta=beta)


def shuffled(batch: Batch, order: Tensor) -> Batch:
    tokens = {name: getattr(batch, name)[order] for name in ("hidden", "token_ids", "response")}
    return replace(batch, **tokens)


@pytest.mark.parametrize("seed", range(10))
def test_only_tokens_next_to_the_threshold_may_be_weighed_otherwise(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = random_batch(seed, group_sizes=(5, 4, 6), longest=30, dim=64, vocab_size=96)
    rng = torch.Generator().manual_seed(seed)
    plain = weights(batch, 1.0)
    group = batch.group[batch.response]
    candidates = (~batch.correct[batch.response] & ~plain.threshold[group].isnan()).nonzero()[:, 0]
    if len(candidates) == 0:
        pytest.fail("choose another seed: the batch has no mixed group")
    order = torch.randperm(len(batch.response), generator=rng)
    largest = float(plain.scores.abs().max())
    for place in candidates[torch.randperm(len(candidates), generator=rng)[:3]]:
        # τ on a token
        beta = float(plain.scores[place] / plain.threshold[group[place]])
        ours, again = weights(batch, beta), weights(batch, beta)
        for name in ("scores", "anchors", "threshold", "weight"):
            assert torch.equal(getattr(ours, name).nan_to_num(), getattr(again, name).nan_to_num())
        with monkeypatch.context() as patch:
            patch.setattr(
                segments, "CPU", segments.BlockSizes(block_elements=1 << 14, block_tokens=8, padding_share=0.5)
            )
            patch.setattr(segments, "PADDING_ELEMENTS", 64)
            patch.setattr(scores, "REDUCTION_ELEMENTS", 1 << 13)
            theirs = weights(shuffled(batch, order), beta)
        assert (theirs.scores - ours.scores[order]).abs().max() <= BOUND * largest
        near = (ours.scores - ours.threshold[group]).abs() <= (1 + abs(beta)) * BOUND * largest
        assert near[place]
        differ = theirs.weight != ours.weight[order]
        assert not (differ & ~near[order]).any()
