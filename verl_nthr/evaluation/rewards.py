"""The reward function of an evaluation."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from verl_nthr.errors import InputError
from verl_nthr.evaluation.benchmarks import Benchmark
from verl_nthr.generation.prompts import Prompt
from verl_nthr.generation.scoring import load_reward, score

THREADS = 8
"""Of which most wait: verl's Math-Verify scorer has processes of its own."""


class Reward:
    """A verl reward function, called from several threads, as verl itself calls it."""

    def __init__(self, source: str | None) -> None:
        """Load it.

        Args:
            source: ``path.py[:name]``; None is verl's default by data source.

        Raises:
            InputError: there is no such file or function.
        """
        self.source = source
        self.sha256 = None
        self._function = load_reward(source)
        if source is not None:
            self.sha256 = hashlib.sha256(Path(source.partition(":")[0]).read_bytes()).hexdigest()

    def check(self, benchmarks: list[Benchmark]) -> None:
        """Score an empty response to the first prompt of each benchmark.

        Raises:
            InputError: that does not work.
        """
        for benchmark in benchmarks:
            try:
                score(self._function, benchmark.prompts[0], "")
            except InputError as error:
                raise InputError(f"--data: {benchmark.path}: {error}") from error

    def score(self, prompts: list[Prompt], responses: list[list[str]]) -> list[list[float]]:
        """The reward of every response to each prompt.

        Raises:
            InputError: the function returned no number.
        """
        pairs = [(prompt, text) for prompt, texts in zip(prompts, responses, strict=True) for text in texts]
        with ThreadPoolExecutor(THREADS) as pool:
            rewards = pool.map(lambda pair: score(self._function, *pair), pairs)
            return [[next(rewards) for _ in texts] for texts in responses]
