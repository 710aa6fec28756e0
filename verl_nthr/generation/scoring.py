"""Scores responses with a verl reward function. The one file here that imports verl: its default scores."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from verl_nthr.errors import InputError
from verl_nthr.generation.prompts import Prompt

RewardFunction = Callable[..., Any]


def load_reward(source: str | None) -> RewardFunction:
    """The function in ``path.py[:name]`` (``compute_score`` if unnamed), or verl's ``default_compute_score`` for None.

    Raises:
        InputError: there is no such file or function.
    """
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


def score(function: RewardFunction, prompt: Prompt, response: str) -> float:
    """The reward of one response: the number returned, or ``score`` of the dict returned.

    Raises:
        InputError: verl's default does not know the data source, or the function returns no finite number.
    """
    try:
        result = function(
            data_source=prompt.data_source,
            solution_str=response,
            ground_truth=prompt.ground_truth,
            extra_info=prompt.extra_info,
        )
    except NotImplementedError as error:
        raise InputError(
            f"the reward function does not handle data_source={prompt.data_source!r} ({error}); pass --reward path.py"
        ) from error
    if inspect.iscoroutine(result):
        result = asyncio.run(result)
    if isinstance(result, dict):
        result = result.get("score")
    try:
        reward = float(result)
    except (TypeError, ValueError) as error:
        raise InputError(f"the reward function returned {result!r}; wanted a number or a dict with 'score'") from error
    if not math.isfinite(reward):
        raise InputError(f"the reward function returned {result!r}; wanted a finite number")
    return reward
