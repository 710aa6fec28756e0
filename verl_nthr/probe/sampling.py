"""Samples responses, a few questions at a time, so that an interrupted run goes on where it was."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from verl_nthr.probe.errors import ProbeError
from verl_nthr.probe.jsonl import append_line, recover_lines
from verl_nthr.probe.questions import Question, encode_prompt
from verl_nthr.probe.rollouts import Rollout
from verl_nthr.probe.scoring import RewardFunction, score
from verl_nthr.probe.settings import Settings

QUESTIONS_AT_A_TIME = 8


class Sampler(Protocol):
    """Turns prompts into responses; the same for the same seed."""

    def __call__(self, prompts: list[list[int]], seed: int) -> list[list[list[int]]]:
        """Token ids of the responses to each prompt, with the end-of-sequence token where they end by themselves."""


def choose_sampler(name: str) -> str:
    """ "vllm" or "transformers" for the option ``--sampler``.

    Raises:
        ProbeError: vLLM is asked for and not installed.
    """
    installed = importlib.util.find_spec("vllm") is not None
    if name == "vllm" and not installed:
        raise ProbeError("--sampler vllm: vLLM is not installed; use --sampler transformers")
    if name == "auto":
        return "vllm" if installed and torch.cuda.is_available() else "transformers"
    return name


class TransformersSampler:
    """Samples with ``generate``, all responses of a call in one batch, from the untruncated distribution."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, settings: Settings) -> None:
        self._model = model
        eos = model.generation_config.eos_token_id if model.generation_config is not None else None
        eos = tokenizer.eos_token_id if eos is None else eos
        self._eos = set(eos) if isinstance(eos, list) else {eos}
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(self._eos - {None}, default=0)
        self._settings = settings
        # a model's own defaults (top-k, penalties) would change the distribution
        model.generation_config = GenerationConfig(eos_token_id=eos, pad_token_id=self._pad)

    @torch.no_grad()
    def __call__(self, prompts: list[list[int]], seed: int) -> list[list[list[int]]]:
        longest = max(len(prompt) for prompt in prompts)
        rows = [[self._pad] * (longest - len(prompt)) + prompt for prompt in prompts]
        attended = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        device = self._model.device
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            sequences = self._model.generate(
                input_ids=torch.tensor(rows, device=device),
                attention_mask=torch.tensor(attended, device=device),
                do_sample=True,
                temperature=self._settings.temperature,
                top_k=0,
                top_p=1.0,
                max_new_tokens=self._settings.max_response_tokens,
                num_return_sequences=self._settings.responses,
            )
        responses = [self._cut(row) for row in sequences[:, longest:].tolist()]
        count = self._settings.responses
        return [responses[start : start + count] for start in range(0, len(responses), count)]

    def _cut(self, response: list[int]) -> list[int]:
        end = next((place for place, token in enumerate(response) if token in self._eos), len(response) - 1)
        return response[: end + 1]


def sample_rollouts(
    questions: list[Question],
    tokenizer: PreTrainedTokenizerBase,
    sampler: Callable[[], Sampler],
    reward: RewardFunction,
    settings: Settings,
    path: Path,
) -> Iterator[Rollout]:
    """Rollouts of ``questions`` in their order, until ``settings.groups`` are mixed; those in ``path`` come first.

    Args:
        questions: the data.
        tokenizer: of the model.
        sampler: makes the sampler, and is called only if something is left to sample.
        reward: scores a response.
        settings: of the run.
        path: where every rollout is stored before the next questions are sampled.
    """
    mixed = 0
    stored = [Rollout.from_json(entry) for entry in recover_lines(path)]
    for rollout in stored:
        mixed += rollout.is_mixed(settings.reward_threshold)
        yield rollout
        if mixed == settings.groups:
            return
    sample: Sampler | None = None
    # whole chunks are sampled again where a kill left a part, so that seeds and batches are the same
    for start in range(len(stored) // QUESTIONS_AT_A_TIME * QUESTIONS_AT_A_TIME, len(questions), QUESTIONS_AT_A_TIME):
        sample = sample or sampler()
        chunk = questions[start : start + QUESTIONS_AT_A_TIME]
        prompts = [encode_prompt(tokenizer, question) for question in chunk]
        answers = sample(prompts, settings.seed * 1_000_003 + start)
        for question, prompt, responses in zip(chunk, prompts, answers, strict=True):
            if question.index < len(stored):
                continue
            texts = [tokenizer.decode(response, skip_special_tokens=True) for response in responses]
            rewards = [score(reward, question, text) for text in texts]
            rollout = Rollout(str(question.index), prompt, responses, rewards)
            append_line(path, rollout.to_json())
            mixed += rollout.is_mixed(settings.reward_threshold)
            yield rollout
            if mixed == settings.groups:
                return
