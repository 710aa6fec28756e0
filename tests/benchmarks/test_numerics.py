"""The numeric choices: rounding against torch's own casts, distances against hand-computed ones."""

from __future__ import annotations

import pytest
import torch

from benchmarks.errors import BenchmarkError
from benchmarks.numerics import Choice, Decision, Distance, decide, reference
from benchmarks.responses import Responses, draw_responses
from benchmarks.rounding import products_in, rounded
from verl_nthr import NTHRResult

CPU = torch.device("cpu")


def test_seven_bits_are_bfloat16() -> None:
    values = torch.randn(10_000, generator=torch.Generator().manual_seed(0)) * 1e3
    ties = torch.tensor([1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, 0.0, 65536.0])
    for tensor in (values, ties, values.view(100, 100).T):
        assert torch.equal(rounded(tensor, 7), tensor.bfloat16().float())


def test_ten_bits_keep_what_tf32_keeps() -> None:
    values = torch.tensor([1 + 2**-10, 1 + 2**-11, 1 + 3 * 2**-11, -1 - 2**-12, 1 + 2**-11 + 2**-20])
    expected = torch.tensor([1 + 2**-10, 1.0, 1 + 2**-9, -1.0, 1 + 2**-10])
    assert torch.equal(rounded(values, 10), expected)
    assert torch.equal(rounded(values, 23), values)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_products_are_of_rounded_operands_and_float32_results(precision: str) -> None:
    rng = torch.Generator().manual_seed(0)
    a, b, c = (torch.randn(2, 5, 5, generator=rng) for _ in range(3))
    low_a, low_b = (rounded(x, {"tf32": 10, "bf16": 7}[precision]).double() for x in (a, b))
    exact = low_a @ low_b
    in_place = c.clone()
    with products_in(precision, CPU):
        found = {
            "bmm": a @ b,
            "mm": torch.stack([a[0] @ b[0], torch.nn.functional.linear(a[1], b[1].T)]),
            "addmm": torch.stack([torch.addmm(c[i], a[i], b[i], beta=2, alpha=3) for i in range(2)]),
            "baddbmm": torch.baddbmm(c, a, b, beta=2, alpha=3),
            "in place": in_place.baddbmm_(a, b),
            "double": a.double() @ b.double(),
        }
    for name in ("bmm", "mm"):
        torch.testing.assert_close(found[name].double(), exact, rtol=0, atol=2e-6)
    for name in ("addmm", "baddbmm"):
        torch.testing.assert_close(found[name].double(), 2 * c + 3 * exact, rtol=0, atol=6e-6)
    torch.testing.assert_close(in_place.double(), c + exact, rtol=0, atol=2e-6)
    assert torch.equal(found["double"], a.double() @ b.double())
    assert not torch.allclose(found["bmm"], a @ b, rtol=0, atol=1e-5)


def test_maths_without_a_product_that_is_rounded_is_no_result() -> None:
    with pytest.raises(BenchmarkError, match="no product that bf16 was applied to"), products_in("bf16", CPU):
        torch.ones(3).sum()


@pytest.fixture(scope="module")
def responses() -> Responses:
    return draw_responses(0, groups=2, rollouts=4, response=6, hidden=16, vocabulary=64)


def error(responses: Responses, choice: Choice) -> float:
    distance = Distance()
    distance.add(decide(responses, choice, CPU), reference(responses, choice.vocabulary), responses)
    return distance.summary()["max_error"]


@pytest.mark.parametrize("vocabulary", ["response", "full"])
@pytest.mark.parametrize("log_z", ["verl's logit", "own logit", "logsumexp"])
def test_float32_is_close_to_the_reference_and_fewer_bits_are_not(
    responses: Responses, vocabulary: str, log_z: str
) -> None:
    errors = {
        name: error(responses, Choice("float32", vocabulary, name, log_z)) for name in ("float32", "tf32", "bf16")
    }
    assert errors["float32"] < 1e-5
    assert 1e-5 < errors["tf32"] < errors["bf16"] < 0.1


def test_a_model_in_bfloat16_is_scored_as_it_is(responses: Responses) -> None:
    mine = responses.rounded(torch.bfloat16)
    assert error(mine, Choice("bfloat16", "response", "float32", "logsumexp")) < 1e-5
    assert 1e-4 < error(mine, Choice("bfloat16", "response", "float32", "verl's logit")) < 0.1


def test_the_distance_is_taken_in_parts_of_the_groups_largest_score() -> None:
    responses = Responses(
        hidden=torch.zeros(4, 1),
        token_ids=torch.zeros(4, dtype=torch.int64),
        response=torch.tensor([0, 1, 2, 3]),
        group=torch.tensor([0, 0, 1, 1]),
        correct=torch.tensor([True, False, True, False]),
        unembedding=torch.zeros(1, 1),
    )
    nothing = torch.zeros(0)
    expected = NTHRResult(
        scores=torch.tensor([10.0, -20.0, 1.0, 2.0], dtype=torch.float64),
        anchors=nothing,
        threshold=nothing,
        success_rate=nothing,
        eta=nothing,
        selected=torch.tensor([False, True, False, False]),
        weight=nothing,
        finite=nothing,
    )
    distance = Distance()
    distance.add(
        Decision(torch.tensor([12.0, -20.0, 1.0, 2.2]), torch.tensor([True, True, False, True])), expected, responses
    )
    found = distance.summary()
    assert found["max_error"] == pytest.approx(0.1)
    assert found["rms_error"] == pytest.approx((2 * 0.1**2 / 4) ** 0.5, rel=1e-5)
    assert found["changed_selections"] == pytest.approx(0.5)
