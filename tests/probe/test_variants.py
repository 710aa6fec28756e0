"""Token advantages on hand-made groups."""

from __future__ import annotations

import math

import pytest
import torch

from verl_nthr.probe.spearman import spearman
from verl_nthr.probe.variants import group_advantages, positive_only, select_most_harmful, select_random, spare

RESPONSE = torch.tensor([0, 0, 1, 1, 1, 1, 2, 2, 2])
SELECTED = torch.tensor([False, False, True, False, True, False, False, False, True])


def test_grpo_has_the_weights_of_the_lemma() -> None:
    p = 0.25
    found = group_advantages(torch.tensor([1.0, 0.0, 0.0, 0.0]))
    expected = [(1 - p) / math.sqrt(p * (1 - p))] + [-p / math.sqrt(p * (1 - p))] * 3
    assert found.tolist() == pytest.approx(expected, rel=1e-4)


def test_positive_only_and_spare() -> None:
    advantages = torch.tensor([1.5, -0.5, -0.5])
    assert positive_only(advantages).tolist() == [1.5, 0.0, 0.0]
    spared = spare(advantages, torch.tensor([False, True, False]), 0.2)
    assert spared.tolist() == pytest.approx([1.5, -0.1, -0.5])


def test_random_keeps_the_number_of_each_response() -> None:
    draws = [select_random(SELECTED, RESPONSE, torch.Generator().manual_seed(seed)) for seed in range(50)]
    for drawn in draws:
        counts = torch.zeros(3, dtype=torch.int64).index_add_(0, RESPONSE, drawn.long())
        assert counts.tolist() == [0, 2, 1]
    assert torch.stack(draws).any(0).tolist() == [False] * 2 + [True] * 7
    again = select_random(SELECTED, RESPONSE, torch.Generator().manual_seed(3))
    assert torch.equal(again, draws[3])


def test_exact_takes_the_most_harmful_candidates_of_the_group() -> None:
    effect = torch.tensor([99.0, 99.0, 1.0, 5.0, 4.0, -7.0, 3.0, -1.0, 2.0])
    chosen = select_most_harmful(SELECTED, RESPONSE > 0, effect)
    assert chosen.nonzero()[:, 0].tolist() == [3, 4, 6]
    nothing = select_most_harmful(torch.zeros_like(SELECTED), RESPONSE > 0, effect)
    assert not nothing.any()


def test_rank_correlation() -> None:
    assert spearman(torch.tensor([1.0, 2.0, 9.0]), torch.tensor([0.1, 0.2, 0.3])) == pytest.approx(1.0)
    assert spearman(torch.tensor([1.0, 2.0, 9.0]), torch.tensor([3.0, 2.0, 1.0])) == pytest.approx(-1.0)
    # ranks 1, 2.5, 2.5, 4 and 2, 1, 3, 4
    found = spearman(torch.tensor([0.0, 1.0, 1.0, 2.0]), torch.tensor([5.0, 4.0, 6.0, 7.0]))
    assert found == pytest.approx(3.0 / math.sqrt(4.5 * 5.0), rel=1e-6)
    assert spearman(torch.ones(3), torch.tensor([1.0, 2.0, 3.0])) is None
