"""Samples with vLLM in a process of its own, which takes its copy of the model with it when it ends."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any

from verl_nthr.probe.errors import ProbeError
from verl_nthr.probe.settings import Settings

_engine: Any = None


class VLLMSampler:
    """A :class:`verl_nthr.probe.sampling.Sampler`; leave the context before another model is loaded."""

    def __init__(self, model: str, settings: Settings) -> None:
        context = multiprocessing.get_context("spawn")
        self._settings = settings
        self._pool = ProcessPoolExecutor(1, context, initializer=_start, initargs=(model, settings.dtype))

    def __enter__(self) -> VLLMSampler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def __call__(self, prompts: list[list[int]], seed: int) -> list[list[list[int]]]:
        """Token ids of the responses to each prompt.

        Raises:
            ProbeError: vLLM could not start, or died; what it printed says why.
        """
        settings = self._settings
        options = {
            "n": settings.responses,
            "temperature": settings.temperature,
            "max_tokens": settings.max_response_tokens,
            "seed": seed,
        }
        try:
            return self._pool.submit(_sample, prompts, options).result()
        except BrokenProcessPool as error:
            raise ProbeError("vLLM ended, its output says why; --sampler transformers does without it") from error


def _start(model: str, dtype: str) -> None:
    """Load the engine; without ``generation_config="vllm"`` the model's own top-k and penalties would apply."""
    global _engine
    from vllm import LLM

    _engine = LLM(model=model, dtype=dtype, generation_config="vllm")


def _sample(prompts: list[list[int]], options: dict[str, Any]) -> list[list[list[int]]]:
    from vllm import SamplingParams

    seed = options.pop("seed")
    parameters = [SamplingParams(seed=seed + place, **options) for place in range(len(prompts))]
    outputs = _engine.generate([{"prompt_token_ids": prompt} for prompt in prompts], parameters, use_tqdm=False)
    return [[list(completion.token_ids) for completion in output.outputs] for output in outputs]
