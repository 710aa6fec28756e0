"""Samples rollouts, a few questions at a time, so that an interrupted run goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from verl_nthr.generation.questions import Question
from verl_nthr.generation.sampler import Decoding, Sampler, sample_in_chunks
from verl_nthr.generation.scoring import RewardFunction, score
from verl_nthr.json_lines import append_line
from verl_nthr.probe.rollouts import Rollout, read_rollouts
from verl_nthr.probe.settings import Settings

QUESTIONS_AT_A_TIME = 8


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
        sampler: gives the sampler; not called if nothing is left to sample.
        reward: scores a response.
        settings: of the run.
        path: where every rollout is stored before the next questions are sampled.
    """
    mixed = 0
    for rollout in _rollouts(questions, tokenizer, sampler, reward, settings, path):
        mixed += rollout.is_mixed(settings.reward_threshold)
        yield rollout
        if mixed == settings.groups:
            return


def _rollouts(
    questions: list[Question],
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
    for chunk in sample_in_chunks(questions, tokenizer, sampler, decoding, seed, QUESTIONS_AT_A_TIME, len(stored)):
        for answers in chunk:
            texts = [tokenizer.decode(response, skip_special_tokens=True) for response in answers.responses]
            rewards = [score(reward, answers.question, text) for text in texts]
            rollout = Rollout(
                question=str(answers.question.index),
                prompt=answers.prompt,
                responses=answers.responses,
                rewards=rewards,
            )
            append_line(path, rollout.model_dump())
            yield rollout
