"""Settings of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from verl_nthr.errors import InputError
from verl_nthr.generation.sampler import Decoding

DEFAULT_K = 256


@dataclass(frozen=True)
class Settings:
    """Everything that the results depend on, but for the models, the data and the reward function."""

    samples: int = 0
    """Sampled responses to each prompt, for Pass@K; 0 for greedy accuracy alone."""

    k: int | None = None
    """The largest K of Pass@K; None is ``samples``, but at most 256."""

    temperature: float = 1.0
    """Of the sampled responses."""

    max_response_tokens: int = 3072
    """Responses are cut there."""

    reward_threshold: float = 0.5
    """A response is correct if its reward is at least this."""

    seed: int = 0
    """Of the sampled responses."""

    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Of the weights."""

    sampler: Literal["auto", "transformers", "vllm"] = "auto"
    """Generates the responses; "auto" is vLLM where it is installed and there is a GPU."""

    def ks(self) -> list[int]:
        """1, 2, 4, … up to the largest K, and that itself; empty without samples.

        Raises:
            InputError: the largest K is larger than the number of samples.
        """
        if self.k is not None and self.k > self.samples:
            raise InputError(
                f"--k {self.k} is larger than --samples {self.samples}: Pass@K needs at least K samples of each "
                f"prompt; pass --samples {self.k} or a smaller --k"
            )
        largest = self.k or min(self.samples, DEFAULT_K)
        powers = [2**exponent for exponent in range(largest.bit_length())]
        return sorted({*powers, largest} - {0})

    def decodings(self) -> dict[str, Decoding]:
        """``greedy`` and, with samples, ``sampled``."""
        decodings = {"greedy": Decoding(1, 0.0, self.max_response_tokens)}
        if self.samples:
            decodings["sampled"] = Decoding(self.samples, self.temperature, self.max_response_tokens)
        return decodings
