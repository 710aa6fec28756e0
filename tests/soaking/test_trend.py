"""What counts as growth."""

from __future__ import annotations

import pytest
import torch

from soaking.trend import TOLERATED, count_is_flat, fit_line, memory_is_flat


def test_a_slope_and_its_error_by_hand() -> None:
    line = fit_line([1.0, 3.0, 2.0])
    assert line.slope == pytest.approx(0.5)
    # residuals −1/2, 1, −1/2 around 1.5, 2, 2.5: their squares add up to 3/2, the steps' around their mean to 2
    assert line.error == pytest.approx((1.5 / 1 / 2) ** 0.5)


def test_two_values_have_no_error() -> None:
    with pytest.raises(ValueError, match="2 values"):
        fit_line([1.0, 2.0])


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_flat_and_a_leak_below_the_noise_is_found(seed: int) -> None:
    noise = 1e6 * torch.randn(400, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    steps = torch.arange(400, dtype=torch.float64)
    assert memory_is_flat(fit_line((7e8 + noise).tolist()))
    assert not memory_is_flat(fit_line((7e8 + noise + 2 * TOLERATED * steps).tolist()))


def test_a_small_slope_is_tolerated_however_sure_it_is() -> None:
    assert memory_is_flat(fit_line([0.9 * TOLERATED * step for step in range(20)]))
    assert not memory_is_flat(fit_line([1.1 * TOLERATED * step for step in range(20)]))
    assert memory_is_flat(fit_line([-2.0 * TOLERATED * step for step in range(20)]))


@pytest.mark.parametrize(
    ("counts", "flat"),
    [
        ([3] * 8, True),
        ([3, 5, 3, 5, 3, 5, 3, 5], True),
        (list(range(8)), False),
        ([3] * 4 + [4] * 4, False),
        ([3], True),
    ],
)
def test_a_count_that_never_comes_back_has_grown(counts: list[int], flat: bool) -> None:
    assert count_is_flat(counts) == flat
