"""The tokens of a step as columns."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from verl_nthr.heatmap.token_dump import LARGEST, Group, Response

POSITIONS = 10


class Vocabulary:
    """Numbers the distinct tokens in the order in which they appear."""

    def __init__(self) -> None:
        self._index: dict[tuple[int, str], int] = {}

    def number(self, token_id: int, text: str) -> int:
        """The number of a token."""
        return self._index.setdefault((token_id, text), len(self._index))

    @property
    def ids(self) -> list[int]:
        """The tokenizer's id of each token."""
        return [token_id for token_id, _ in self._index]

    @property
    def texts(self) -> list[str]:
        """The string of each token."""
        return [text for _, text in self._index]


@dataclass(frozen=True)
class TokenColumns:
    """One entry a token, in the order of groups, responses and positions; nan where the dump has null."""

    token: NDArray[np.uint32]
    """Number in the vocabulary."""

    score: NDArray[np.float32]
    """NTHR's s."""

    weight: NDArray[np.float32]
    """Factor of the advantage."""

    log_prob: NDArray[np.float32]
    """Of the policy that sampled."""

    entropy: NDArray[np.float32]
    """In nats."""

    margin: NDArray[np.float32]
    """s − τ of the response's group; nan without a threshold."""

    position: NDArray[np.uint8]
    """Tenth of the response, from 0."""

    trained: NDArray[np.bool_]
    """Tokens that the model is trained on."""

    correct: NDArray[np.bool_]
    """Tokens of correct responses."""

    mixed: NDArray[np.bool_]
    """Tokens of mixed groups."""

    eased: NDArray[np.bool_]
    """Tokens whose penalty is reduced."""

    penalised: NDArray[np.bool_]
    """Tokens that could be eased: trained on, of wrong responses with Â < 0 in mixed groups."""


@dataclass(frozen=True)
class Step:
    """The tokens and counts of a step that the summaries use."""

    step: int
    """Training step."""

    groups: int
    """Number of groups."""

    mixed_groups: int
    """Number of groups with correct and wrong responses."""

    responses: int
    """Number of responses."""

    tokens: TokenColumns
    """The tokens of all responses."""


def step_of(number: int, groups: list[Group], vocabulary: Vocabulary) -> Step:
    """The step as columns; new tokens are added to ``vocabulary``."""
    return Step(
        step=number,
        groups=len(groups),
        mixed_groups=sum(group.mixed for group in groups),
        responses=sum(len(group.responses) for group in groups),
        tokens=concatenate(
            [columns_of(response, group.mixed, vocabulary) for group in groups for response in group.responses]
        ),
    )


def columns_of(response: Response, mixed: bool, vocabulary: Vocabulary) -> TokenColumns:
    """The tokens of one response, of a group that is ``mixed`` or not."""
    length, tau = len(response.tokens), response.tau
    trained = np.array(response.mask, np.bool_)
    margin = [None if score is None or tau is None else within_float32(score - tau) for score in response.scores]
    return TokenColumns(
        token=np.array([*map(vocabulary.number, response.token_ids, response.tokens)], np.uint32),
        score=np.array(response.scores, np.float32),
        weight=np.array(response.weights, np.float32),
        log_prob=np.array(response.log_probs, np.float32),
        entropy=np.array(response.entropies, np.float32),
        margin=np.array(margin, np.float32),
        position=(np.arange(length) * POSITIONS // max(length, 1)).astype(np.uint8),
        trained=trained,
        correct=np.full(length, response.correct),
        mixed=np.full(length, mixed),
        eased=np.array([*map(response.eased, range(length))], np.bool_),
        penalised=trained & (mixed and not response.correct and response.advantage < 0),
    )


def within_float32(value: float) -> float:
    """The nearest finite float32's value for what lies beyond all of them."""
    return max(-LARGEST, min(LARGEST, value))


def concatenate(parts: list[TokenColumns]) -> TokenColumns:
    """All tokens of the parts, in their order."""
    return TokenColumns(
        **{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(TokenColumns)}
    )
