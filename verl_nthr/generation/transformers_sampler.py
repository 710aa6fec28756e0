"""Samples with ``generate`` of transformers."""

from __future__ import annotations

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from verl_nthr.generation.sampler import Decoding


class TransformersSampler:
    """A :class:`verl_nthr.generation.sampler.Sampler`: all responses of a call in one batch."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self._model = model
        eos = model.generation_config.eos_token_id if model.generation_config is not None else None
        eos = tokenizer.eos_token_id if eos is None else eos
        self._eos = set(eos) if isinstance(eos, list) else {eos}
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(self._eos - {None}, default=0)
        # a model's own defaults (top-k, penalties) would change the distribution
        model.generation_config = GenerationConfig(eos_token_id=eos, pad_token_id=self._pad)

    @torch.no_grad()
    def __call__(self, prompts: list[list[int]], decoding: Decoding, seed: int) -> list[list[list[int]]]:
        """Token ids of the responses to each prompt."""
        longest = max(len(prompt) for prompt in prompts)
        rows = [[self._pad] * (longest - len(prompt)) + prompt for prompt in prompts]
        attended = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        device = self._model.device
        greedy = {"do_sample": False}
        sampled = {"do_sample": True, "temperature": decoding.temperature, "top_k": 0, "top_p": 1.0}
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            sequences = self._model.generate(
                input_ids=torch.tensor(rows, device=device),
                attention_mask=torch.tensor(attended, device=device),
                max_new_tokens=decoding.max_response_tokens,
                num_return_sequences=decoding.responses,
                **(greedy if decoding.temperature == 0 else sampled),
            )
        responses = [self._cut(row) for row in sequences[:, longest:].tolist()]
        count = decoding.responses
        return [responses[start : start + count] for start in range(0, len(responses), count)]

    def _cut(self, response: list[int]) -> list[int]:
        end = next((place for place, token in enumerate(response) if token in self._eos), len(response) - 1)
        return response[: end + 1]
