"""The interface of samplers, and the loop that samples a chunk of prompts at a time."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from verl_nthr.errors import InputError
from verl_nthr.generation.prompts import Prompt, encode_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Decoding:
    """Settings for drawing responses from the untruncated distribution."""

    responses: int
    """To each prompt; 1 if greedy."""

    temperature: float
    """0 is greedy."""

    max_response_tokens: int
    """Responses are cut there."""


class Sampler(Protocol):
    """Turns prompts into responses; the same for the same seed."""

    def __call__(self, prompts: list[list[int]], decoding: Decoding, seed: int) -> list[list[list[int]]]:
        """Token ids of the responses to each prompt, with the end-of-sequence token where they end by themselves."""


def choose_sampler(name: str) -> str:
    """ "vllm" or "transformers" for the option ``--sampler``.

    Raises:
        InputError: vLLM is asked for and not installed.
    """
    import torch

    installed = importlib.util.find_spec("vllm") is not None
    if name == "vllm" and not installed:
        raise InputError("--sampler vllm: vLLM is not installed; use --sampler transformers")
    if name == "auto":
        return "vllm" if installed and torch.cuda.is_available() else "transformers"
    return name


@dataclass(frozen=True)
class Group:
    """The responses to one prompt."""

    prompt: Prompt
    """Of the data."""

    prompt_ids: list[int]
    """Its tokens, with the chat template."""

    responses: list[list[int]]
    """Token ids, with the end-of-sequence token where a response ended by itself."""


def sample_in_chunks(
    prompts: list[Prompt],
    tokenizer: PreTrainedTokenizerBase,
    sampler: Callable[[], Sampler],
    decoding: Decoding,
    seed: int,
    chunk: int,
    done: int,
) -> Iterator[list[Group]]:
    """Responses to the prompts from place ``done`` on, chunk after chunk.

    Where ``done`` is not a multiple of ``chunk``, the whole chunk is sampled again, so that an interrupted run goes on
    with the same batches and seeds.

    Args:
        prompts: all.
        tokenizer: the model's.
        sampler: gives the sampler; called for each chunk, and not at all if nothing is left to sample.
        decoding: how.
        seed: of the first chunk; another one's is larger by the place of its first prompt.
        chunk: prompts at a time.
        done: prompts that have their responses.

    Raises:
        InputError: the tokenizer has no chat template, or the sampler failed.
    """
    first = done // chunk * chunk if done < len(prompts) else done
    for start in range(first, len(prompts), chunk):
        asked = prompts[start : start + chunk]
        ids = [encode_prompt(tokenizer, prompt) for prompt in asked]
        responses = sampler()(ids, decoding, seed + start)
        yield [Group(*each) for each in zip(asked, ids, responses, strict=True)][max(0, done - start) :]
