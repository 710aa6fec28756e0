"""Effects of tokens against inner products of gradients, token by token."""

from __future__ import annotations

import pytest
import torch

from tests.probe.cases import CORRECT, GROUP, tiny_policy, token_log_probs
from verl_nthr.errors import InputError
from verl_nthr.probe.true_effect import TrueEffect
from verl_nthr.probe.update import InitialWeights

TEMPERATURE = 0.8


def gradient(value: torch.Tensor, parameters: list[torch.nn.Parameter]) -> torch.Tensor:
    return torch.cat([part.flatten() for part in torch.autograd.grad(value, parameters, retain_graph=True)])


@pytest.mark.parametrize(
    ("method", "tokens_per_forward", "tolerance"),
    [("forward mode", 8192, 1e-4), ("forward mode", 1, 1e-4), ("finite difference", 8192, 1e-2)],
)
def test_equals_inner_products_of_gradients(method: str, tokens_per_forward: int, tolerance: float) -> None:
    policy = tiny_policy(TEMPERATURE, tokens_per_forward)
    copies = [parameter.detach().clone() for parameter in policy.parameters]
    effect = TrueEffect(policy, InitialWeights(policy))
    effect.method = method
    found = effect(GROUP, CORRECT)
    assert effect.method == method

    each = [token_log_probs(policy.model, GROUP.prompt, y, TEMPERATURE) for y in GROUP.responses]
    direction = sum(gradient(each[i].sum(), policy.parameters) for i in CORRECT)
    expected = torch.stack([gradient(token, policy.parameters) @ direction for y in each for token in y])
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()
    assert all(torch.equal(now, then) for now, then in zip(policy.parameters, copies, strict=True))


def test_falls_back_to_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny_policy(TEMPERATURE)
    initial = InitialWeights(policy)
    exact = TrueEffect(policy, initial)(GROUP, CORRECT)

    def no_forward_mode(*_: object) -> None:
        raise NotImplementedError("kernel without forward AD")

    monkeypatch.setattr(TrueEffect, "_forward_mode", no_forward_mode)
    effect = TrueEffect(policy, initial)
    with pytest.warns(UserWarning, match="kernel without forward AD"):
        found = effect(GROUP, CORRECT)
    assert effect.method == "finite difference"
    assert (found - exact).abs().max() <= 1e-2 * exact.abs().max()


def test_finite_differences_refuse_coarse_weights() -> None:
    policy = tiny_policy(dtype=torch.bfloat16)
    effect = TrueEffect(policy, InitialWeights(policy))
    effect.method = "finite difference"
    with pytest.raises(InputError, match="--dtype float32"):
        effect(GROUP, CORRECT)
