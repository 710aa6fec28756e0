"""Samples with vLLM in a process of its own, which takes its copy of the model with it when it ends."""

from __future__ import annotations

import multiprocessing
import os
import random
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from types import TracebackType
from typing import Any

from verl_nthr.cpu.environment import environment
from verl_nthr.errors import InputError
from verl_nthr.generation.sampler import Decoding

_engine: Any = None


class VLLMSampler:
    """A :class:`verl_nthr.generation.sampler.Sampler`; leave the context before another model is loaded."""

    def __init__(self, model: str, dtype: str) -> None:
        import torch

        context = multiprocessing.get_context("spawn")
        on_cpu = not torch.cuda.is_available()
        self._pool = ProcessPoolExecutor(1, context, initializer=_start, initargs=(model, dtype, on_cpu))

    def __enter__(self) -> VLLMSampler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(BrokenProcessPool):
            self._pool.submit(_stop)
        self._pool.shutdown()

    def __call__(self, prompts: list[list[int]], decoding: Decoding, seed: int) -> list[list[list[int]]]:
        """Token ids of the responses to each prompt.

        Raises:
            InputError: vLLM could not start, or died; what it printed says why.
        """
        # vLLM adds a response's number to its prompt's seed: the seeds of two prompts have to be far apart
        seeds = [random.Random(f"{seed} {place}").getrandbits(48) for place in range(len(prompts))]
        options = {
            "n": decoding.responses,
            "temperature": decoding.temperature,
            "max_tokens": decoding.max_response_tokens,
        }
        try:
            return self._pool.submit(_sample, prompts, seeds, options).result()
        except BrokenProcessPool as error:
            raise InputError("vLLM ended, its output says why; --sampler transformers does without it") from error


def _start(model: str, dtype: str, on_cpu: bool) -> None:
    """Load the engine; without ``generation_config="vllm"`` the model's own top-k and penalties would apply."""
    global _engine
    if on_cpu:
        for name, value in environment().items():
            if name.startswith("VLLM_"):
                os.environ.setdefault(name, value)
    from vllm import LLM

    _engine = LLM(model=model, dtype=dtype, generation_config="vllm", enforce_eager=on_cpu)


def _stop() -> None:
    """End the engine's processes: this one waits for them before anything that vLLM does at its exit."""
    _engine.llm_engine.engine_core.shutdown()


def _sample(prompts: list[list[int]], seeds: list[int], options: dict[str, Any]) -> list[list[list[int]]]:
    from vllm import SamplingParams

    parameters = [SamplingParams(seed=seed, **options) for seed in seeds]
    outputs = _engine.generate([{"prompt_token_ids": prompt} for prompt in prompts], parameters, use_tqdm=False)
    return [[list(completion.token_ids) for completion in output.outputs] for output in outputs]
