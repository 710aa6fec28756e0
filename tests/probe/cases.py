"""A tiny untrained model and hand-made rollouts."""

from __future__ import annotations

import torch
from transformers import Qwen2ForCausalLM

from tests.toy import make_model, make_tokenizer
from verl_nthr.probe.groups import Group
from verl_nthr.probe.policy import Policy

GROUP = Group(
    name="q",
    prompt=[5, 6, 7],
    responses=[[10, 11, 12, 13], [10, 11, 15], [20, 4, 6, 7, 8], [9]],
    rewards=[1.0, 0.0, 0.0, 1.0],
)
CORRECT = [0, 3]


def tiny_model(scale: float = 5.0) -> Qwen2ForCausalLM:
    """The toy model, its weights scaled up so that its predictions are far from uniform."""
    model = make_model(make_tokenizer()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(scale)
    return model


def tiny_policy(temperature: float = 1.0, tokens_per_forward: int = 8192, dtype: torch.dtype = torch.float32) -> Policy:
    return Policy(tiny_model().to(dtype), temperature, tokens_per_forward)


def token_log_probs(model: torch.nn.Module, prompt: list[int], response: list[int], temperature: float) -> torch.Tensor:
    """ln π of the response's tokens, alone and without padding; differentiable."""
    logits = model(input_ids=torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1] / temperature
    return torch.log_softmax(logits, dim=-1)[torch.arange(len(response)), torch.tensor(response)]
