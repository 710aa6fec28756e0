"""Δ(x) against an optimizer step written out in plain torch, and the weights after it."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.probe.cases import CORRECT, GROUP, tiny_model, tiny_policy, token_log_probs
from verl_nthr.probe.policy import Policy
from verl_nthr.probe.update import InitialWeights, likelihood_change

ADVANTAGES = torch.linspace(-1.5, 1.0, 13)


@pytest.mark.parametrize("tokens_per_forward", [8192, 1])
@pytest.mark.parametrize(("optimizer", "rate"), [("adam", 1e-3), ("sgd", 1e-2)])
def test_delta_equals_a_hand_made_step(optimizer: str, rate: float, tokens_per_forward: int) -> None:
    temperature = 0.8
    model = copy.deepcopy(tiny_model())
    old = [token_log_probs(model, GROUP.prompt, y, temperature) for y in GROUP.responses]
    kinds = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    step = kinds[optimizer](model.parameters(), lr=rate)
    new = torch.cat([token_log_probs(model, GROUP.prompt, y, temperature) for y in GROUP.responses])
    ratio = torch.exp(new - torch.cat(old).detach())
    loss = -torch.minimum(ratio * ADVANTAGES, ratio.clamp(0.8, 1.2) * ADVANTAGES).mean()
    loss.backward()
    step.step()
    after = [token_log_probs(model, GROUP.prompt, GROUP.responses[i], temperature).sum() for i in CORRECT]
    expected = sum(float((b - old[i].sum()).detach()) for i, b in zip(CORRECT, after, strict=True)) / len(CORRECT)

    policy = tiny_policy(temperature, tokens_per_forward)
    before = policy.log_likelihood(GROUP, CORRECT)
    found, moved = likelihood_change(
        policy, InitialWeights(policy), GROUP, CORRECT, ADVANTAGES, before, optimizer, rate
    )
    assert abs(expected) > 1e-2
    assert found == pytest.approx(expected, rel=2e-3)
    assert 0.1 < moved <= 1.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_are_restored_bit_by_bit(dtype: torch.dtype) -> None:
    policy = tiny_policy(dtype=dtype)
    copies = {name: value.clone() for name, value in policy.model.state_dict().items()}
    initial = InitialWeights(policy)
    before = policy.log_likelihood(GROUP, CORRECT)
    deltas = [likelihood_change(policy, initial, GROUP, CORRECT, ADVANTAGES, before, "adam", 1e-2)[0] for _ in range(2)]
    assert deltas[0] == deltas[1] != 0.0
    assert before.dtype == torch.float64
    for name, value in policy.model.state_dict().items():
        assert value.dtype == dtype
        assert torch.equal(value, copies[name]), name
    assert all(parameter.grad is None for parameter in policy.parameters)


def test_weights_are_restored_when_the_update_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny_policy()
    copies = [parameter.detach().clone() for parameter in policy.parameters]
    initial = InitialWeights(policy)
    before = policy.log_likelihood(GROUP, CORRECT)

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Policy, "log_likelihood", fail)
    with pytest.raises(MemoryError):
        likelihood_change(policy, initial, GROUP, CORRECT, ADVANTAGES, before, "adam", 1e-2)
    assert all(torch.equal(now, then) for now, then in zip(policy.parameters, copies, strict=True))


def test_record_equals_single_passes() -> None:
    policy = tiny_policy(0.9, tokens_per_forward=20)
    record = policy.record(GROUP)
    expected = [token_log_probs(policy.model, GROUP.prompt, y, 0.9) for y in GROUP.responses]
    torch.testing.assert_close(record.log_probs, torch.cat(expected).detach(), rtol=1e-4, atol=1e-4)
    head = policy.lm_head.weight.detach()
    distribution = torch.softmax(record.hidden @ head.T / 0.9, -1)
    torch.testing.assert_close(record.entropy, torch.distributions.Categorical(distribution).entropy())
    ids = torch.tensor([token for y in GROUP.responses for token in y])
    chosen = distribution.log()[torch.arange(len(ids)), ids]
    torch.testing.assert_close(record.log_probs, chosen, rtol=1e-4, atol=1e-4)
