"""Checks that prompts and responses fit into a model's context."""

from __future__ import annotations

from transformers import AutoConfig, PreTrainedTokenizerBase

from verl_nthr.errors import InputError
from verl_nthr.evaluation.benchmarks import Benchmark
from verl_nthr.evaluation.models import Model
from verl_nthr.generation.prompts import encode_prompt


def check_lengths(
    model: Model, tokenizer: PreTrainedTokenizerBase, benchmarks: list[Benchmark], max_response_tokens: int
) -> None:
    """Check that every prompt and its response fit into the model's positions.

    Raises:
        InputError: one does not, or the tokenizer has no chat template.
    """
    config = AutoConfig.from_pretrained(model.path, trust_remote_code=False)
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    for benchmark in benchmarks:
        longest = max(len(encode_prompt(tokenizer, prompt)) for prompt in benchmark.prompts)
        if positions is not None and longest + max_response_tokens > positions:
            raise InputError(
                f"--max-response-tokens {max_response_tokens}: with the longest prompt of {benchmark.name} ({longest} "
                f"tokens) that is more than the {positions} positions of {model.path}; pass at most "
                f"{max(0, positions - longest)}"
            )
