"""What the old-log-prob pass records of every response token, and the rows of the output layer that go with it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenFeatures:
    """Features of response tokens, in any order; axis T runs over the tokens that this process holds.

    Attributes:
        hidden: [T, D] last hidden state that predicts the token (the input of the output layer), any float dtype; it
            may lie on another device than the rest.
        token_ids: [T] int64, the predicted token.
        log_probs: [T] float32, log π(token) at the sampling temperature.
        log_normalizer: [T] float32, log Σ_v exp(logit_v / temperature) over the full vocabulary.
        temperature: [T] float32.
        response: [T] int64, index of the token's response among all R responses of the batch.
        group: [T] int64, prompt group of the token's response, in 0 .. G-1.
    """

    hidden: Tensor
    token_ids: Tensor
    log_probs: Tensor
    log_normalizer: Tensor
    temperature: Tensor
    response: Tensor
    group: Tensor

    def __len__(self) -> int:
        return self.token_ids.shape[0]

    def hidden_of(self, tokens: Tensor) -> Tensor:
        """[t, D] float32 hidden states of some tokens [t], where the rest lies."""
        return self.hidden[tokens.to(self.hidden.device)].to(self.log_probs.device).float()


@dataclass(frozen=True)
class OutputRows:
    """Rows of the output layer ``logits = hidden @ weight.T + bias``.

    Attributes:
        weight: [U, D] rows of the unembedding, any float dtype.
        bias: [U] or None.
        token_ids: [U] int64, ascending, the vocabulary entry of each row; None if row u is vocabulary entry u.
    """

    weight: Tensor
    bias: Tensor | None = None
    token_ids: Tensor | None = None

    def select(self, token_ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """Float32 weight [N, D] and bias [N] of the given vocabulary entries [N]; all of them must be held."""
        rows = token_ids if self.token_ids is None else torch.searchsorted(self.token_ids, token_ids)
        bias = None if self.bias is None else self.bias[rows].float()
        return self.weight[rows].float(), bias

    def label_logits(self, hidden: Tensor, token_ids: Tensor) -> Tensor:
        """[T] float32: the logit of each token itself, hidden_t · W_{token_t} + b_{token_t}."""
        weight, bias = self.select(token_ids)
        logits = torch.linalg.vecdot(hidden.float(), weight)
        return logits if bias is None else logits + bias

    def log_probs(self, hidden: Tensor, token_ids: Tensor, temperature: Tensor, chunk: int = 1024) -> Tensor:
        """[T] float32: log softmax(logits / temperature)[token] over all rows held, ``chunk`` tokens at a time.

        The softmax is taken in float64, so that 1 − π keeps its relative precision where π is close to 1.
        """
        weight = self.weight.double()
        bias = None if self.bias is None else self.bias.double()
        log_probs = hidden.new_empty(hidden.shape[0], dtype=torch.float32)
        for part in torch.arange(hidden.shape[0], device=hidden.device).split(chunk):
            logits = torch.nn.functional.linear(hidden[part].double(), weight, bias) / temperature[part, None]
            log_probs[part] = torch.log_softmax(logits, dim=-1).gather(1, token_ids[part, None])[:, 0].float()
        return log_probs
