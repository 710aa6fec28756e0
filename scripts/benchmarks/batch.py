"""Synthetic batches: groups of ragged responses with a mixed outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

ZIPF_EXPONENT = 1.3
"""Token frequencies fall as rank^−1.3: 8 responses of 1000 tokens then have about 1500 different ones."""


@dataclass(frozen=True)
class Batch:
    """B rows, in an order in which the rows of a group are apart, as verl's balancing leaves them."""

    prompts: list[list[int]]
    responses: list[list[int]]

    group: list[int]
    """Prompt group of each row."""

    correct: list[bool]
    """Every group has both."""

    @property
    def tokens(self) -> int:
        """Prompt and response tokens."""
        return sum(map(len, self.prompts)) + self.response_tokens

    @property
    def response_tokens(self) -> int:
        return sum(map(len, self.responses))

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return max(len(prompt) + len(answer) for prompt, answer in zip(self.prompts, self.responses, strict=True))

    def entries_per_group(self) -> float:
        """Mean |V*|: different tokens in the responses of a group."""
        entries: dict[int, set[int]] = {}
        for group, response in zip(self.group, self.responses, strict=True):
            entries.setdefault(group, set()).update(response)
        return sum(map(len, entries.values())) / len(entries)

    def part(self, rows: Sequence[int]) -> Batch:
        """Some of the rows."""
        return Batch(
            *([column[row] for row in rows] for column in (self.prompts, self.responses, self.group, self.correct))
        )


def make_batch(groups: int, rollouts: int, response: int, prompt: int, vocabulary: int, seed: int = 0) -> Batch:
    """Draw a batch in which every group is mixed, so that every response token is scored.

    Args:
        groups: prompts.
        rollouts: responses to each, at least 2.
        response: tokens of the longest response; lengths are uniform from a quarter of it.
        prompt: tokens of the longest prompt; lengths are uniform from a half of it.
        vocabulary: V.
        seed: of everything.
    """
    rng = torch.Generator().manual_seed(seed)
    frequencies = zipf(vocabulary, rng)

    def draw(low: int, high: int) -> list[int]:
        length = int(torch.randint(low, high + 1, (1,), generator=rng))
        return torch.multinomial(frequencies, length, replacement=True, generator=rng).tolist()

    prompts = [draw(max(1, prompt // 2), prompt) for _ in range(groups)]
    order = torch.randperm(groups * rollouts, generator=rng).tolist()
    return Batch(
        prompts=[prompts[place // rollouts] for place in order],
        responses=[draw(max(1, response // 4), response) for _ in order],
        group=[place // rollouts for place in order],
        correct=[place % rollouts % 2 == 0 for place in order],
    )


def zipf(size: int, rng: torch.Generator) -> Tensor:
    """[size] float32 probabilities ∝ rank^−:data:`ZIPF_EXPONENT`, with ranks in random order."""
    rank = torch.randperm(size, generator=rng) + 1
    weights = rank.double() ** -ZIPF_EXPONENT
    return (weights / weights.sum()).float()
