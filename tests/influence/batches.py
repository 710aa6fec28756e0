"""Random ragged batches for the maths floor."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Batch:
    hidden: Tensor
    token_ids: Tensor
    response: Tensor
    group: Tensor
    correct: Tensor
    unembedding: Tensor
    bias: Tensor | None
    temperature: Tensor | float

    def arguments(self, log_probs: Tensor | None) -> dict:
        return {
            "hidden": self.hidden,
            "token_ids": self.token_ids,
            "log_probs": log_probs,
            "response": self.response,
            "group": self.group,
            "correct": self.correct,
            "unembedding": self.unembedding,
            "bias": self.bias,
            "temperature": self.temperature,
        }

    def reference_arguments(self) -> dict:
        arguments = self.arguments(None)
        del arguments["log_probs"]
        return arguments

    def temperature_of_tokens(self) -> Tensor:
        return torch.as_tensor(self.temperature, dtype=torch.float64).expand(len(self.group))[self.response]

    def exact_log_probs(self) -> Tensor:
        logits = self.hidden.double() @ self.unembedding.double().T
        if self.bias is not None:
            logits = logits + self.bias.double()
        log_probs = torch.log_softmax(logits / self.temperature_of_tokens()[:, None], dim=-1)
        return log_probs.gather(1, self.token_ids.long()[:, None])[:, 0]


def random_batch(
    seed: int,
    *,
    group_sizes: tuple[int, ...] = (4, 3),
    longest: int = 7,
    dim: int = 11,
    vocab_size: int = 23,
    logit_scale: float = 2.0,
    dtype: torch.dtype = torch.float32,
    with_bias: bool = False,
    per_response_temperature: bool = False,
    padding_rows: int = 0,
    empty_responses: bool = True,
) -> Batch:
    """Groups of the given sizes with random correctness, ragged lengths, all tokens shuffled together."""
    rng = torch.Generator().manual_seed(seed)
    group = torch.cat([torch.full((n,), x) for x, n in enumerate(group_sizes)] + [torch.full((padding_rows,), -1)])
    responses = len(group)
    group = group[torch.randperm(responses, generator=rng)]
    correct = torch.rand(responses, generator=rng) < 0.5
    lengths = torch.randint(0 if empty_responses else 1, longest + 1, (responses,), generator=rng)
    response = torch.repeat_interleave(torch.arange(responses), lengths)
    response = response[torch.randperm(len(response), generator=rng)]
    tokens = len(response)
    temperature: Tensor | float = 0.6
    if per_response_temperature:
        temperature = 0.5 + torch.rand(responses, generator=rng)
    return Batch(
        hidden=torch.randn(tokens, dim, generator=rng).to(dtype),
        token_ids=torch.randint(0, vocab_size, (tokens,), generator=rng),
        response=response,
        group=group,
        correct=correct,
        unembedding=(torch.randn(vocab_size, dim, generator=rng) * logit_scale / dim**0.5).to(dtype),
        bias=torch.randn(vocab_size, generator=rng).to(dtype) if with_bias else None,
        temperature=temperature,
    )


def largest_error(actual: Tensor, expected: Tensor) -> float:
    """max |actual − expected| over max |expected|."""
    if not expected.numel():
        return 0.0
    scale = expected.abs().max().clamp_min(1e-30)
    return float((actual.double() - expected.double()).abs().max() / scale)
