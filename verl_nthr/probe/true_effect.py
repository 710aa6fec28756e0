"""The first-order effect of punishing each token on the correct responses, from gradients of the whole model.

With d = ∇_θ Σ_{i correct} ln π(y_i⁺|x), the effect of token t is e_t = ⟨d, ∇_θ ln π_t⟩: a step that lowers ln π_t
lowers the correct responses' log-likelihood in proportion to e_t. All e_t at once are the derivative of ln π_t along d.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from verl_nthr.errors import InputError
from verl_nthr.probe.groups import Group
from verl_nthr.probe.policy import Policy, label_log_probs
from verl_nthr.probe.update import InitialWeights

LIKELIHOOD_STEP = 0.03


class TrueEffect:
    """Computes e_t, by forward-mode differentiation as long as the model's operations have it."""

    def __init__(self, policy: Policy, initial: InitialWeights) -> None:
        self._policy = policy
        self._initial = initial
        self.method = "forward mode"
        """Method of the last computation: "forward mode" or "finite difference"."""

    def __call__(self, group: Group, correct: list[int]) -> Tensor:
        """e_t of all response tokens: [T] float32, response by response; the weights are left as they were.

        Args:
            group: the prompt.
            correct: rows of correct responses.

        Raises:
            InputError: the model has no forward mode and its weights are too coarse for finite differences.
        """
        try:
            direction = self._direction(group, correct)
            if self.method == "forward mode":
                try:
                    return self._forward_mode(group, direction)
                except NotImplementedError as error:
                    warnings.warn(f"no forward mode in this model, taking finite differences: {error}", stacklevel=2)
                    self.method = "finite difference"
            return self._finite_difference(group, direction)
        finally:
            self._initial.restore()

    def _direction(self, group: Group, correct: list[int]) -> list[Tensor]:
        for _, rows in self._policy.pieces(group, correct):
            self._policy.log_probs(rows).sum().backward()
        direction = []
        for parameter in self._policy.parameters:
            direction.append(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
            parameter.grad = None
        return direction

    @torch.no_grad()
    def _forward_mode(self, group: Group, direction: list[Tensor]) -> Tensor:
        policy, effects = self._policy, []
        named = zip(policy.model.named_parameters(), direction, strict=True)
        with forward_ad.dual_level(), sdpa_kernel(SDPBackend.MATH):
            dual = {name: forward_ad.make_dual(parameter, tangent) for (name, parameter), tangent in named}
            for _, rows in policy.pieces(group, list(range(len(group.responses)))):
                output = torch.func.functional_call(policy.model, dual, kwargs=policy.inputs(rows))
                log_probs = label_log_probs(policy.scaled_logits(output.logits, rows), rows)
                tangent = forward_ad.unpack_dual(log_probs).tangent
                if tangent is None:
                    raise NotImplementedError("the log-probabilities lost their tangent")
                effects.append(tangent[rows.mask])
        return torch.cat(effects)

    @torch.no_grad()
    def _finite_difference(self, group: Group, direction: list[Tensor]) -> Tensor:
        """(ln π_t(θ + εd) − ln π_t(θ − εd)) / 2ε, with ε‖d‖², the expected change of Σ ln π(y⁺|x), equal to 0.03."""
        parameters = self._policy.parameters
        if any(parameter.dtype != torch.float32 for parameter in parameters):
            raise InputError("finite differences of the true effect need float32 weights; pass --dtype float32")
        length = float(torch.stack([tangent.double().norm() for tangent in direction]).norm())
        epsilon = LIKELIHOOD_STEP / length**2 if length > 0 else 1.0
        sides = []
        for sign in (1.0, -1.0):
            self._initial.restore()
            for parameter, step in zip(parameters, direction, strict=True):
                parameter.add_(step, alpha=sign * epsilon)
            sides.append(self._log_probs(group))
        return ((sides[0] - sides[1]) / (2 * epsilon)).float()

    def _log_probs(self, group: Group) -> Tensor:
        pieces = self._policy.pieces(group, list(range(len(group.responses))))
        return torch.cat([self._policy.log_probs(rows)[rows.mask].double() for _, rows in pieces])
