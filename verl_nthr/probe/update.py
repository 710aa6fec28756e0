"""One optimizer step on one prompt from the same weights every time; one copy of them is kept."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from verl_nthr.probe.groups import Group
from verl_nthr.probe.policy import Policy

Optimizer = Literal["adam", "sgd"]
ADAM_EPSILON = 1e-8


class InitialWeights:
    """The only copy of the weights, from which they are restored bit by bit."""

    def __init__(self, policy: Policy) -> None:
        self._parameters = policy.parameters
        self._saved = [parameter.detach().clone() for parameter in policy.parameters]

    @torch.no_grad()
    def restore(self) -> None:
        """Undo everything since the copy was made, and drop gradients."""
        for parameter, saved in zip(self._parameters, self._saved, strict=True):
            parameter.copy_(saved)
            parameter.grad = None

    @torch.no_grad()
    def moved_fraction(self) -> float:
        """Share of the weights that differ from the copy: an update too small for bfloat16 moves few."""
        pairs = zip(self._parameters, self._saved, strict=True)
        moved = sum(int((parameter != saved).sum()) for parameter, saved in pairs)
        return moved / sum(saved.numel() for saved in self._saved)


def accumulate_gradient(policy: Policy, group: Group, advantages: Tensor) -> None:
    """Add the gradient of the token-mean GRPO loss to the parameters' ``grad``.

    At the weights that sampled the responses the ratio γ is 1 and no clip acts, so that the gradient of
    −(1/T) Σ_t min(γ_t Â_t, clip(γ_t) Â_t) is that of −(1/T) Σ_t Â_t ln π_t (Eq. 1).

    Args:
        policy: at its initial weights.
        group: the prompt.
        advantages: [T] Â of every response token, response by response.
    """
    tokens = advantages.shape[0]
    of_response = advantages.split([len(response) for response in group.responses])
    for part, rows in policy.pieces(group, list(range(len(group.responses)))):
        padded = torch.zeros(rows.mask.shape, device=rows.mask.device)
        padded[rows.mask] = torch.cat([of_response[row] for row in part]).to(padded)
        (-(padded * policy.log_probs(rows)).sum() / tokens).backward()


@torch.no_grad()
def first_step(policy: Policy, optimizer: Optimizer, learning_rate: float) -> None:
    """Step along the parameters' ``grad``, which is freed as it is used.

    Adam's first step from a zero state with bias correction is θ − lr · g / (|g| + 1e-8), which needs no state. It is
    computed in float32 and rounded to the weights' dtype.
    """
    for parameter in policy.parameters:
        if parameter.grad is None:
            continue
        step = parameter.grad.float()
        if optimizer == "adam":
            step = step / (step.abs() + ADAM_EPSILON)
        parameter.copy_(parameter.float() - learning_rate * step)
        parameter.grad = None


def likelihood_change(
    policy: Policy,
    initial: InitialWeights,
    group: Group,
    correct: list[int],
    advantages: Tensor,
    before: Tensor,
    optimizer: Optimizer,
    learning_rate: float,
) -> tuple[float, float]:
    """Δ(x) of Eq. 2 for one variant, and the share of weights that the update moved; the weights are restored.

    Args:
        policy: at its initial weights.
        initial: their copy.
        group: the prompt x.
        correct: rows of correct responses.
        advantages: [T] token advantages of the variant.
        before: [len(correct)] ln π_θ(y⁺|x) at the initial weights.
        optimizer: of the one step.
        learning_rate: of the one step.
    """
    try:
        accumulate_gradient(policy, group, advantages)
        first_step(policy, optimizer, learning_rate)
        after = policy.log_likelihood(group, correct)
        return float((after - before).mean()), initial.moved_fraction()
    finally:
        initial.restore()
