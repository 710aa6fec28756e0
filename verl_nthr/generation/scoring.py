"""Scores responses with a verl reward function. The one file here that imports verl: its default scores."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import inspect
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from verl_nthr.errors import InputError
from verl_nthr.generation.prompts import Prompt

THREADS = 8
"""Of which most wait: verl's Math-Verify scorer has processes of its own."""


class Reward:
    """A verl reward function, called from several threads, like in verl itself."""

    def __init__(self, source: str | None) -> None:
        """Load it.

        Args:
            source: ``path.py[:name]`` (``compute_score`` if unnamed); None is verl's default by data source.

        Raises:
            InputError: there is no such file or function.
        """
        self.source = source
        self.sha256 = None
        """Of the file; None for verl's default."""
        self._function = _load(source)
        if source is not None:
            self.sha256 = hashlib.sha256(Path(source.partition(":")[0]).read_bytes()).hexdigest()

    def __call__(self, prompt: Prompt, response: str) -> float:
        """The reward of one response: the number returned, or ``score`` of the dict returned.

        Raises:
            InputError: verl's default does not know the data source, or the function returns no finite number.
        """
        try:
            result = self._function(
                data_source=prompt.data_source,
                solution_str=response,
                ground_truth=prompt.ground_truth,
                extra_info=prompt.extra_info,
            )
        except NotImplementedError as error:
            raise InputError(
                f"the reward function does not handle data_source={prompt.data_source!r} ({error}); "
                "pass --reward path.py"
            ) from error
        if inspect.iscoroutine(result):
            result = asyncio.run(result)
        if isinstance(result, dict):
            result = result.get("score")
        try:
            reward = float(result)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"the reward function returned {result!r}; wanted a number or a dict with 'score'"
            ) from error
        if not math.isfinite(reward):
            raise InputError(f"the reward function returned {result!r}; wanted a finite number")
        return reward

    def score(self, prompts: list[Prompt], responses: list[list[str]]) -> list[list[float]]:
        """The reward of every response to each prompt.

        Raises:
            InputError: the function returned no number.
        """
        pairs = [(prompt, text) for prompt, texts in zip(prompts, responses, strict=True) for text in texts]
        with ThreadPoolExecutor(THREADS) as pool:
            rewards = pool.map(lambda pair: self(*pair), pairs)
            return [[next(rewards) for _ in texts] for texts in responses]


def _load(source: str | None) -> Callable[..., Any]:
    if source is None:
        from verl.utils.reward_score import default_compute_score

        return default_compute_score
    file, _, name = source.partition(":")
    name = name or "compute_score"
    path = Path(file)
    if not path.is_file():
        raise InputError(f"--reward: {path} does not exist; use path.py or path.py:function")
    spec = importlib.util.spec_from_file_location("verl_reward_function", path)
    if spec is None or spec.loader is None:
        raise InputError(f"--reward: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        raise InputError(f"--reward: {path} has no function {name!r}; use path.py:function")
    return function
