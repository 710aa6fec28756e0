"""Estimators against enumeration, published values and simulation."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from verl_nthr.evaluation.statistics import bootstrap, mean_of_shares, pass_at_k, wilson


@pytest.mark.parametrize("samples", [1, 2, 5, 8])
def test_pass_at_k_is_the_share_of_subsets_with_a_correct_one(samples: int) -> None:
    for correct, k in itertools.product(range(samples + 1), range(1, samples + 1)):
        subsets = list(itertools.combinations(range(samples), k))
        hits = sum(min(subset) < correct for subset in subsets)
        assert pass_at_k(samples, correct, k) == pytest.approx(float(Fraction(hits, len(subsets))), abs=1e-15)


@pytest.mark.parametrize(("samples", "correct", "k"), [(256, 1, 256), (1024, 3, 256), (256, 255, 2), (256, 128, 64)])
def test_pass_at_k_of_many_samples(samples: int, correct: int, k: int) -> None:
    none = Fraction(1)
    for place in range(k):
        none *= Fraction(max(0, samples - correct - place), samples - place)
    assert pass_at_k(samples, correct, k) == pytest.approx(float(1 - none), rel=1e-14)


@pytest.mark.parametrize(("samples", "correct", "k"), [(4, 2, 5), (4, 2, 0), (4, 5, 2), (4, -1, 2)])
def test_pass_at_k_that_is_not_defined(samples: int, correct: int, k: int) -> None:
    with pytest.raises(ValueError, match="not defined"):
        pass_at_k(samples, correct, k)


@pytest.mark.parametrize(
    ("correct", "prompts", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_newcombes_table(correct: int, prompts: int, low: float, high: float) -> None:
    """Table I, method 3, of R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872."""
    estimate = wilson(correct, prompts)
    assert estimate["value"] == correct / prompts
    assert (estimate["low"], estimate["high"]) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_the_mean_of_one_share_keeps_its_interval() -> None:
    assert mean_of_shares([wilson(3, 30)]) == pytest.approx(wilson(3, 30))


def test_the_interval_of_a_mean_of_shares_covers() -> None:
    generator = np.random.default_rng(0)
    sizes, truth = (30, 40, 500), (0.1, 0.5, 0.75)
    covered = 0
    for _ in range(1000):
        shares = [wilson(int(generator.binomial(n, p)), n) for n, p in zip(sizes, truth, strict=True)]
        mean = mean_of_shares(shares)
        covered += mean["low"] <= np.mean(truth) <= mean["high"]
    assert 0.93 < covered / 1000 < 0.97


def test_bootstrap_of_normal_values_is_the_normal_interval() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.normal(0.4, 0.2, (2, 400)), generator.normal(0.1, 0.1, (2, 900))
    estimates = bootstrap([first, second])
    for row, estimate in enumerate(estimates):
        error = np.hypot(first[row].std() / 20, second[row].std() / 30) / 2
        mean = (first[row].mean() + second[row].mean()) / 2
        assert estimate["value"] == pytest.approx(mean)
        assert estimate["low"] == pytest.approx(mean - 1.96 * error, abs=0.15 * error)
        assert estimate["high"] == pytest.approx(mean + 1.96 * error, abs=0.15 * error)
    assert bootstrap([first, second]) == estimates


def test_bootstrap_of_a_single_prompt() -> None:
    assert bootstrap([np.array([[0.5], [0.25]])]) == [
        {"value": 0.5, "low": None, "high": None},
        {"value": 0.25, "low": None, "high": None},
    ]
