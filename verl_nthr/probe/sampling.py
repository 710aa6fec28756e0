"""Samples rollouts, a few prompts at a time, so that an interrupted run goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from verl_nthr.generation.prompts import Prompt
from verl_nthr.generation.sampler import Decoding, Sampler, sample_in_chunks
from verl_nthr.generation.scoring import RewardFunction, score
from verl_nthr.json_lines import append_line
from verl_nthr.probe.rollouts import Rollout, read_rollouts
from verl_nthr.probe.settings import Settings

PROMPTS_AT_A_TIME = 8


def sample_rollouts(
    prompts: list[Prompt],
    tokenizer: PreTrainedTokenizerBase,
    sampler: Callable[[], Sampler],
    reward: RewardFunction,
    settings: Settings,
    path: Path,
) -> Iterator[Rollout]:
    """Rollouts of ``prompts`` in their order, until ``settings.groups`` are mixed; those in ``path`` come first.

    Args:
        prompts: the data.
        tokenizer: of the model.
        sampler: gives the sampler; not called if nothing is left to sample.
        reward: scores a response.
        settings: of the run.
        path: where every rollout is stored before the next prompts are sampled.
    """
    mixed = 0
    for rollout in _rollouts(prompts, tokenizer, sampler, reward, settings, path):
        mixed += rollout.is_mixed(settings.reward_threshold)
        yield rollout
        if mixed == settings.groups:
            return


def _rollouts(
    prompts: list[Prompt],
    tokenizer: PreTrainedTokenizerBase,
    sampler: Callable[[], Sampler],
    reward: RewardFunction,
    settings: Settings,
    path: Path,
) -> Iterator[Rollout]:
    stored = read_rollouts(path)
    yield from stored
    decoding = Decoding(settings.responses, settings.temperature, settings.max_response_tokens)
    seed = settings.seed * 1_000_003
    for chunk in sample_in_chunks(prompts, tokenizer, sampler, decoding, seed, PROMPTS_AT_A_TIME, len(stored)):
        for group in chunk:
            texts = [tokenizer.decode(response, skip_special_tokens=True) for response in group.responses]
            rewards = [score(reward, group.prompt, text) for text in texts]
            rollout = Rollout(
                name=str(group.prompt.index),
                prompt=group.prompt_ids,
                responses=group.responses,
                rewards=rewards,
            )
            append_line(path, rollout.model_dump())
            yield rollout
