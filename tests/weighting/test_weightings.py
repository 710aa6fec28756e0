"""Weights of tokens, counted by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from verl_nthr.weighting import NTHR, THR, WEIGHTINGS, Negative, Positive, RandomTokens, WeightingInputs

NAN = math.nan


def two_groups(seed: int = 0) -> WeightingInputs:
    """A mixed group of three (one correct), a homogeneous response, and a padding row."""
    return WeightingInputs(
        advantage=torch.tensor([[1.2, 1.2, 0.0], [-0.6, -0.6, -0.6], [-0.6, -0.6, 0.0], [0.0, 0.0, 0.0], [0.0] * 3]),
        score=torch.tensor([[3.0, -2.5, NAN], [2.5, 1.0, -3.0], [NAN, 2.0, NAN], [NAN] * 3, [NAN] * 3]),
        threshold=torch.tensor([2.0, 2.0, 2.0, NAN, NAN]),
        correct=torch.tensor([True, False, False, True, False]),
        success_rate=torch.tensor([1 / 3, 1 / 3, 1 / 3, 1.0, NAN]),
        seed=seed,
    )


@pytest.mark.parametrize(("eta", "value"), [("balanced", 1 / 3), ("p", 1 / 3), ("1-p", 2 / 3), (0.25, 0.25)])
def test_nthr_eases_what_is_above_tau_in_wrong_responses(eta: str | float, value: float) -> None:
    weights = NTHR(eta).weights(two_groups())
    expected = torch.ones(5, 3)
    expected[1, 0] = value
    torch.testing.assert_close(weights, expected)


def test_nthr_with_beta_minus_infinity_eases_every_scored_token_of_wrong_responses() -> None:
    responses = two_groups()
    threshold = torch.where(responses.threshold.isnan(), NAN, -math.inf)
    selected = NTHR().selected(WeightingInputs(**(vars(responses) | {"threshold": threshold})))
    assert selected.nonzero().tolist() == [[1, 0], [1, 1], [1, 2], [2, 1]]


@pytest.mark.parametrize("weighting", [NTHR("balanced"), NTHR(0.0), RandomTokens(0.0)])
@pytest.mark.parametrize(("rewards", "kept"), [([1.0, 0.4, -1.0, -1.0], 0.54), ([0.0, 0.0, 0.4, 1.0], 0.11)])
def test_only_penalties_are_eased(weighting: NTHR, rewards: list[float], kept: float) -> None:
    reward = torch.tensor(rewards)
    advantage = ((reward - reward.mean()) / reward.std())[:, None].expand(4, 2)
    assert any(row[0] == pytest.approx(kept, abs=0.005) for row in advantage.tolist())
    inputs = WeightingInputs(
        advantage=advantage,
        score=torch.ones(4, 2),
        threshold=torch.zeros(4),
        correct=reward >= 0.5,
        success_rate=torch.full((4,), 0.25),
    )
    weights = weighting.weights(inputs)
    assert (weights[advantage > 0] == 1).all()
    assert (weights[advantage < 0] < 1).all()


@pytest.mark.parametrize("rho", [0.1, -0.1, 0.0])
def test_thr_keeps_dominant_tokens_and_leans_to_a_sign(rho: float) -> None:
    weights = THR(rho).weights(two_groups())
    # THR: 3, −2.5 of the correct response; −2.5, −1, 3 and −2 (not above τ = 2) of the wrong ones
    assert weights[0].tolist() == pytest.approx([1 + rho, 1 - rho, 1.0])
    assert weights[1].tolist() == pytest.approx([1 - rho, 0.0, 1 + rho])
    assert weights[2].tolist() == pytest.approx([1.0, 0.0, 1.0])
    assert (weights[3:] == 1).all()


def drawn(seed: int) -> Tensor:
    responses = 4
    score = torch.arange(40.0).repeat(responses, 1)
    score[3, 10:] = NAN
    return RandomTokens(0.5).weights(
        WeightingInputs(
            advantage=torch.full_like(score, -1.0),
            score=score,
            threshold=torch.tensor([24.0, 29.0, 29.0, 5.0]),
            correct=torch.tensor([False, True, False, False]),
            success_rate=torch.full((responses,), 0.25),
            seed=seed,
        )
    )


def test_random_tokens_are_as_many_as_nthrs_of_the_same_response() -> None:
    eased = drawn(0) < 1
    assert eased.sum(1).tolist() == [15, 0, 10, 4]
    assert not eased[3, 10:].any()
    assert drawn(0)[eased].unique().tolist() == [0.5]


def test_random_tokens_are_random_and_reproducible() -> None:
    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    often = sum((drawn(seed)[0] < 1).float() for seed in range(400)) / 400
    # 15 of 40 tokens each, 5 standard deviations of the mean of 400 draws
    assert (often - 15 / 40).abs().max() < 5 * math.sqrt(15 / 40 * 25 / 40 / 400)


def test_one_sign_alone() -> None:
    responses = two_groups()
    assert torch.equal(Positive().weights(responses) * responses.advantage, responses.advantage.clamp(min=0))
    assert torch.equal(Negative().weights(responses) * responses.advantage, responses.advantage.clamp(max=0))


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_what_is_not_selected_has_its_weight_and_selected_tokens_are_candidates(name: str) -> None:
    weighting, responses = WEIGHTINGS[name](), two_groups()
    weights, selected = weighting.weights(responses), weighting.selected(responses)
    assert not (selected & ~weighting.candidates(responses)).any()
    assert not weights.isnan().any()
    assert (weights[~weighting.candidates(responses)] == 1).all()


@pytest.mark.parametrize(("kind", "option"), [(NTHR, {"eta": 2}), (THR, {"rho": 1.0}), (THR, {"rho": "high"})])
def test_bad_options_are_refused(kind: type, option: dict[str, object]) -> None:
    ((name, value),) = option.items()
    with pytest.raises(ValueError, match=f"{name}={value!r}: use"):
        kind(**option)
