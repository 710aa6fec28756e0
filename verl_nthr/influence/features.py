"""Features of response tokens, and the rows of the LM head that go with them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenFeatures:
    """Features of response tokens, in any order; axis T runs over the tokens that this process holds.

    Attributes:
        hidden: [T, D] last hidden state that predicts the token (the input of the LM head), any float dtype; may lie on
            another device than the rest.
        token_ids: [T] int64, the predicted token.
        log_probs: [T] float32, log π(token) at the sampling temperature.
        log_normalizer: [T] float32, log Z = log Σ_v exp(logit_v / temperature) over the full vocabulary.
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
        """[..., D] float32 hidden states of some tokens [...], on the device of the other features."""
        return self.hidden[tokens.to(self.hidden.device)].to(self.log_probs.device).float()


@dataclass(frozen=True)
class LMHeadRows:
    """Rows of the LM head ``logits = hidden @ weight.T + bias``.

    Attributes:
        weight: [U, D], any float dtype.
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
