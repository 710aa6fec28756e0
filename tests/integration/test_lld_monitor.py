"""The displacement monitor's arithmetic and choice of rows; the pass itself is in test_training.py."""

from __future__ import annotations

import pytest
import torch

from verl_nthr.integration.driver.lld_monitor import displacement_metrics, rows_of_pass


def test_displacement_counted_by_hand() -> None:
    delta = torch.tensor([-1.0, 0.5, 0.0, 2.0, -3.0])
    assert displacement_metrics(delta, 0.6) == {
        "nthr/lld/delta_logp/mean": pytest.approx(-0.3),
        "nthr/lld/delta_logp/p10": pytest.approx(-2.2),
        "nthr/lld/share_negative": pytest.approx(0.4),
        "nthr/lld/share_lazy": pytest.approx(0.8),
    }


@pytest.mark.parametrize(
    ("is_correct", "multiple", "rows"),
    [
        ([False, True, False, True], 1, [1, 3]),
        ([False, True, False, True], 4, [1, 3, 0, 2]),
        ([True, True, False, True, False, False], 2, [0, 1, 3, 2]),
        ([False, False], 2, []),
        ([True, True], 2, [0, 1]),
    ],
)
def test_the_pass_takes_the_correct_rows_and_fills_up(is_correct: list[bool], multiple: int, rows: list[int]) -> None:
    assert rows_of_pass(is_correct, multiple) == rows
