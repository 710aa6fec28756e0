"""Sampled responses as tensors, and the model's pass over them.

Axes: R responses, P prompt tokens, L tokens of the longest response, D hidden size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedTokenizerBase, Qwen2ForCausalLM

from verl_nthr.demo.arithmetic import Addition, final_number
from verl_nthr.demo.warm_up import encode_prompt


@dataclass(frozen=True)
class Batch:
    """The responses to some prompts, padded on the right; all prompts have one length."""

    input_ids: Tensor
    """[R, P + L] int64."""

    mask: Tensor
    """[R, L] bool, response tokens; the end of the sequence counts."""

    group: Tensor
    """[R] int64, prompt of each response."""

    correct: Tensor
    """[R] bool."""

    @property
    def token_ids(self) -> Tensor:
        """[R, L] int64, the responses."""
        return self.input_ids[:, -self.mask.shape[1] :]

    def rows(self, chosen: Tensor) -> Batch:
        """Some of the responses."""
        return Batch(self.input_ids[chosen], self.mask[chosen], self.group[chosen], self.correct[chosen])


@torch.no_grad()
def sample(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    additions: list[Addition],
    responses: int,
    max_response_tokens: int,
    seed: int,
) -> Batch:
    """Sample ``responses`` to each addition at temperature 1 from the untruncated distribution."""
    prompts = torch.tensor([encode_prompt(tokenizer, addition) for addition in additions])
    config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=max_response_tokens,
        num_return_sequences=responses,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        sequences = model.generate(input_ids=prompts, attention_mask=torch.ones_like(prompts), generation_config=config)
    tokens = sequences[:, prompts.shape[1] :]
    ended_before = (tokens == tokenizer.eos_token_id).cumsum(1) - (tokens == tokenizer.eos_token_id).long()
    texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
    totals = [addition.total for addition in additions for _ in range(responses)]
    return Batch(
        input_ids=sequences,
        mask=ended_before == 0,
        group=torch.arange(len(additions)).repeat_interleave(responses),
        correct=torch.tensor([final_number(text) == total for text, total in zip(texts, totals, strict=True)]),
    )


@dataclass(frozen=True)
class Record:
    """The results of one forward pass."""

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
