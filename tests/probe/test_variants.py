"""Token advantages on hand-made groups."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from verl_nthr.influence import NTHRResult
from verl_nthr.probe.statistics import spearman
from verl_nthr.probe.variants import ease, group_advantages, most_harmful, variants

RESPONSE = torch.tensor([0, 0, 1, 1, 1, 1, 2, 2, 2])
WRONG = RESPONSE > 0
EASED = torch.tensor([False, False, True, False, True, False, False, False, True])
UNUSED = torch.empty(0)
NTHR = NTHRResult(
    scores=UNUSED,
    anchors=UNUSED,
    threshold=UNUSED,
    success_rate=UNUSED,
    eta=torch.tensor([0.2]),
    selected=EASED,
    weight=torch.where(EASED, 0.2, 1.0),
    finite=UNUSED,
)


def test_grpo_has_the_weights_of_the_lemma() -> None:
    p = 0.25
    found = group_advantages(torch.tensor([1.0, 0.0, 0.0, 0.0]))
    expected = [(1 - p) / math.sqrt(p * (1 - p))] + [-p / math.sqrt(p * (1 - p))] * 3
    assert found.tolist() == pytest.approx(expected, rel=1e-4)


def test_variants_by_hand() -> None:
    base = torch.tensor([1.5, 1.5, -0.5, -0.5, -0.5, -0.5, -0.25, -0.25, -0.25])
    found = variants(base, NTHR, WRONG, RESPONSE, seed=3)
    assert found["grpo"] is base
    assert found["pos_only"].tolist() == [1.5, 1.5, *[0.0] * 7]
    assert found["nthr"].tolist() == pytest.approx([1.5, 1.5, -0.1, -0.5, -0.1, -0.5, -0.25, -0.25, -0.05])
    assert ease(base, torch.arange(9) == 6, NTHR)[6:].tolist() == pytest.approx([-0.05, -0.25, -0.25])


def test_random_eases_as_many_tokens_of_each_response() -> None:
    base = torch.full((9,), -1.0)
    draws = [variants(base, NTHR, WRONG, RESPONSE, seed)["random"] for seed in range(50)]
    eased = torch.stack(draws) == -0.2
    assert ((torch.stack(draws) == -1.0) | eased).all()
    counts = torch.stack([eased[:, row == RESPONSE].sum(1) for row in range(3)])
    assert (counts == torch.tensor([0, 2, 1])[:, None]).all()
    assert eased.any(0).tolist() == [False] * 2 + [True] * 7
    assert torch.equal(variants(base, NTHR, WRONG, RESPONSE, seed=3)["random"], draws[3])


def test_exact_takes_the_most_harmful_tokens_of_the_group() -> None:
    effect = torch.tensor([99.0, 99.0, 1.0, 5.0, 4.0, -7.0, 3.0, -1.0, 2.0])
    assert most_harmful(NTHR, WRONG, effect).nonzero()[:, 0].tolist() == [3, 4, 6]
    nothing = dataclasses.replace(NTHR, selected=torch.zeros(9, dtype=torch.bool))
    assert not most_harmful(nothing, WRONG, effect).any()


def test_rank_correlation() -> None:
    assert spearman(torch.tensor([1.0, 2.0, 9.0]), torch.tensor([0.1, 0.2, 0.3])) == pytest.approx(1.0)
    assert spearman(torch.tensor([1.0, 2.0, 9.0]), torch.tensor([3.0, 2.0, 1.0])) == pytest.approx(-1.0)
    # ranks 1, 2.5, 2.5, 4 and 2, 1, 3, 4
    found = spearman(torch.tensor([0.0, 1.0, 1.0, 2.0]), torch.tensor([5.0, 4.0, 6.0, 7.0]))
    assert found == pytest.approx(3.0 / math.sqrt(4.5 * 5.0), rel=1e-6)
    assert spearman(torch.ones(3), torch.tensor([1.0, 2.0, 3.0])) is None
