"""The toy's log-probabilities of a batch, with the features that NTHR takes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Qwen2ForCausalLM

from verl_nthr.comparison.batch import Batch


@dataclass(frozen=True)
class Record:
    """The results of one forward pass; axes R responses, L tokens of the longest, D hidden size."""

    log_probs: Tensor
    """[R, L] float32, 0 outside the responses; gradients flow."""

    hidden: Tensor
    """[R, L, D] the state that predicts each token, without gradients."""

    entropy: Tensor
    """[R, L] float32, without gradients."""


def forward(model: Qwen2ForCausalLM, batch: Batch) -> Record:
    """Run the model over a batch at temperature 1."""
    longest = batch.mask.shape[1]
    attended = torch.ones_like(batch.input_ids)
    attended[:, -longest:] = batch.mask
    states = model.model(input_ids=batch.input_ids, attention_mask=attended, use_cache=False).last_hidden_state
    states = states[:, -longest - 1 : -1]
    log_pi = model.lm_head(states).log_softmax(-1)
    log_probs = log_pi.gather(-1, batch.token_ids[..., None])[..., 0].masked_fill(~batch.mask, 0.0)
    entropy = -(log_pi.detach().exp() * log_pi.detach()).sum(-1)
    return Record(log_probs, states.detach(), entropy)
