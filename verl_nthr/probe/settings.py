"""Settings of the probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Settings:
    """Everything that the results depend on, but for the files."""

    groups: int = 100
    """Mixed groups to examine; fewer where the data has fewer."""

    responses: int = 8
    """G, responses sampled for each prompt."""

    temperature: float = 1.0
    """Of sampling and of all likelihoods."""

    max_response_tokens: int = 4000
    """Responses are cut there."""

    reward_threshold: float = 0.5
    """A response is correct if its reward is at least this."""

    optimizer: Literal["adam", "sgd"] = "adam"
    """Of the one update."""

    learning_rate: float = 1e-6
    """Of the one update."""

    eta: str | float = 0.0
    """Factor of an eased token's advantage: a number in [0, 1], or "balanced", "p", "1-p"."""

    beta: float = 1.0
    """β of NTHR's threshold."""

    true_effect: bool = False
    """Also compute the exact first-order effects, and the variant that eases by them."""

    seed: int = 0
    """Of sampling and of the random variant."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the weights."""

    tokens_per_forward: int = 8192
    """Tokens, padding included, in one pass."""

    sampler: Literal["auto", "transformers", "vllm"] = "auto"
    """Samples the responses; "auto" is vLLM where it is installed and there is a GPU."""
