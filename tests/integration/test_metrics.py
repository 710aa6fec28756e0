"""Step metrics, counted by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from verl_nthr.integration.driver.groups import Groups, group_responses
from verl_nthr.integration.driver.metrics import step_metrics
from verl_nthr.weighting import NTHR, Positive, WeightingInputs

NAN = math.nan


def responses(groups: Groups, scores: list[list[float]], threshold: Tensor) -> WeightingInputs:
    rows = [torch.tensor(row) for row in scores]
    score = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=NAN)
    return WeightingInputs(torch.full_like(score, -1.0), score, threshold, groups.row_correct, groups.success_rate)


def test_a_batch_counted_by_hand() -> None:
    keys = ["a_0_0", "a_1_0", "a_2_0", "a_3_0", "b_0_0", "b_1_0", "c_0_0", "c_1_0", "pad_0_0"]
    correct = [True, False, False, False, False, True, True, True, False]
    groups = group_responses(keys, [False] * 8 + [True], correct)
    scores = [[9.0, 9.0], [1.0, 3.0, NAN], [2.5], [-4.0], [0.5, -0.5], [7.0], [NAN], [NAN, NAN], [NAN]]
    threshold = torch.tensor([2.0] * 4 + [-1.0] * 2 + [NAN] * 3)
    metrics = step_metrics(groups, NTHR(), responses(groups, scores, threshold))
    # wrong tokens: 1, 3 | 2.5 | -4 against τ = 2 and 0.5, -0.5 against τ = -1
    assert metrics.pop("nthr/eased_fraction") == pytest.approx(4 / 6)
    assert metrics.pop("nthr/mixed_group_fraction") == pytest.approx(2 / 3)
    assert metrics.pop("nthr/eta/mean") == pytest.approx((2 * abs(0.5 - 0.25) + 0.0) / 2)
    assert metrics.pop("nthr/tau/mean") == pytest.approx((2.0 - 1.0) / 2)
    assert metrics.pop("nthr/tau/negative_fraction") == pytest.approx(0.5)
    assert metrics.pop("nthr/score/mean") == pytest.approx((1 + 3 + 2.5 - 4 + 0.5 - 0.5) / 6)
    assert metrics.pop("nthr/score/max") == 3.0
    assert metrics == {}


def test_without_a_mixed_group_only_meaningful_figures_are_given() -> None:
    groups = group_responses(["a_0_0", "a_1_0"], [False, False], [True, True])
    metrics = step_metrics(groups, NTHR(), responses(groups, [[NAN], [NAN]], torch.tensor([NAN, NAN])))
    assert metrics == {"nthr/eased_fraction": 0.0, "nthr/mixed_group_fraction": 0.0}


def test_a_weighting_without_scores_reports_its_tokens() -> None:
    groups = group_responses(["a_0_0", "a_1_0"], [False, False], [True, False])
    found = responses(groups, [[NAN, NAN], [NAN]], torch.tensor([NAN, NAN]))
    found = dataclasses.replace(found, advantage=torch.tensor([[0.5, 0.5], [-0.5, 0.0]]))
    assert step_metrics(groups, Positive(), found) == {
        "nthr/zeroed_fraction": pytest.approx(1 / 3),
        "nthr/mixed_group_fraction": 1.0,
    }
