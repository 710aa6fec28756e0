"""Statistics of a token dump: eased tokens by string, position, score, entropy and training step."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verl_nthr.heatmap.columns import POSITIONS, Step, TokenColumns, concatenate

MOST_EASED = 20
ENTROPY_BINS = 10
SCORE_BINS = 20
SCORE_QUANTILE = 0.98


@dataclass(frozen=True)
class Share:
    """Counts tokens of wrong responses in mixed groups, and those of them that are eased."""

    tokens: int
    """Tokens."""

    eased: int
    """Tokens eased."""

    share: float | None
    """Their quotient; None without tokens."""


@dataclass(frozen=True)
class StringShare(Share):
    """:class:`Share` of one token string."""

    text: str
    """The token decoded by itself."""


@dataclass(frozen=True)
class BinShare(Share):
    """:class:`Share` of a bin, which holds its lower end and, if it is the last one, its upper end."""

    low: float
    """Lower end."""

    high: float
    """Upper end."""


@dataclass(frozen=True)
class StepShare(Share):
    """:class:`Share` of a training step."""

    step: int
    """Training step."""


@dataclass(frozen=True)
class Bin:
    """A bin of a histogram, which holds its upper and not its lower end, so that those above 0 are those above τ."""

    low: float | None
    """Lower end; None for the open one."""

    high: float | None
    """Upper end; None for the open one."""

    tokens: int
    """Number of tokens."""


@dataclass(frozen=True)
class Summary:
    """Of all steps; the fields are those of ``verl-nthr heatmap --json``."""

    responses: int
    """Number of responses."""

    groups: int
    """Number of prompt groups, each counted once per step."""

    mixed_groups: int
    """Groups with correct and wrong responses; NTHR acts on them alone."""

    steps: list[StepShare]
    """Ascending."""

    eased_tokens: int
    """Tokens of wrong responses in mixed groups that are eased."""

    candidate_tokens: int
    """Tokens of wrong responses in mixed groups."""

    eased_fraction: float | None
    """Quotient of the two; None without a mixed group."""

    most_eased: list[StringShare]
    """The strings that are eased most often, at most :data:`MOST_EASED`."""

    histograms: dict[str, list[Bin]]
    """Of s − τ in mixed groups: ``wrong`` and ``correct`` responses, with the same bins."""

    by_position: list[BinShare]
    """By tenths of the response."""

    by_entropy: list[BinShare]
    """By tenths of the entropies of the tokens counted; fewer bins where many entropies are equal."""


def summarise(steps: list[Step], texts: list[str]) -> Summary:
    """Summarise steps, of which there is at least one.

    Args:
        steps: the dump.
        texts: the string of each number in the vocabulary.
    """
    tokens = concatenate([step.tokens for step in steps])
    total = _count(tokens.penalised, tokens.eased)
    return Summary(
        responses=sum(step.responses for step in steps),
        groups=sum(step.groups for step in steps),
        mixed_groups=sum(step.mixed_groups for step in steps),
        steps=[
            StepShare(*_count(step.tokens.penalised, step.tokens.eased), step.step)
            for step in sorted(steps, key=lambda step: step.step)
        ],
        eased_tokens=total[1],
        candidate_tokens=total[0],
        eased_fraction=total[2],
        most_eased=most_eased(tokens, texts),
        histograms=histograms(tokens),
        by_position=by_position(tokens),
        by_entropy=by_entropy(tokens),
    )


def most_eased(tokens: TokenColumns, texts: list[str]) -> list[StringShare]:
    """The strings eased most often; of equal ones first the one seen less often, then by the string."""
    seen = _by_text(tokens.token[tokens.penalised], texts)
    eased = _by_text(tokens.token[tokens.penalised & tokens.eased], texts)
    order = sorted(eased, key=lambda text: (-eased[text], seen[text], text))
    return [StringShare(seen[text], eased[text], eased[text] / seen[text], text) for text in order[:MOST_EASED]]


def histograms(tokens: TokenColumns) -> dict[str, list[Bin]]:
    """Equal bins around τ up to the 98th percentile of |s − τ| of wrong responses, and an open bin at either end."""
    known = tokens.trained & tokens.mixed & ~np.isnan(tokens.margin)
    wrong, correct = tokens.margin[known & ~tokens.correct], tokens.margin[known & tokens.correct]
    if not len(wrong):
        return {"wrong": [], "correct": []}
    end = float(np.quantile(np.abs(wrong).astype(np.float64), SCORE_QUANTILE)) or 1.0
    edges = end * np.arange(-SCORE_BINS // 2, SCORE_BINS // 2 + 1) / (SCORE_BINS // 2)
    ends = [None, *edges.tolist(), None]
    return {
        name: [
            Bin(low, high, int(count))
            for (low, high), count in zip(itertools.pairwise(ends), _bin_counts(values, edges), strict=True)
        ]
        for name, values in (("wrong", wrong), ("correct", correct))
    }


def by_position(tokens: TokenColumns) -> list[BinShare]:
    """The share eased in each tenth of the response."""
    edges = [tenth / POSITIONS for tenth in range(POSITIONS + 1)]
    return [
        BinShare(*_count(tokens.penalised & (tokens.position == tenth), tokens.eased), low, high)
        for tenth, (low, high) in enumerate(itertools.pairwise(edges))
    ]


def by_entropy(tokens: TokenColumns) -> list[BinShare]:
    """The share eased in each tenth of the tokens ordered by entropy; tokens without an entropy are left out."""
    known = tokens.penalised & ~np.isnan(tokens.entropy)
    entropy, eased = tokens.entropy[known], tokens.eased[known]
    if not len(entropy):
        return []
    edges = np.unique(np.quantile(entropy.astype(np.float64), np.linspace(0, 1, ENTROPY_BINS + 1)))
    number = np.searchsorted(edges[1:-1], entropy, side="right")
    pairs = list(itertools.pairwise(edges.tolist())) or [(float(edges[0]), float(edges[0]))]
    return [BinShare(*_count(number == index, eased), low, high) for index, (low, high) in enumerate(pairs)]


def _count(tokens: NDArray[np.bool_], eased: NDArray[np.bool_]) -> tuple[int, int, float | None]:
    number, of_them = int(tokens.sum()), int((tokens & eased).sum())
    return number, of_them, of_them / number if number else None


def _by_text(tokens: NDArray[np.uint32], texts: list[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for number, count in enumerate(np.bincount(tokens, minlength=len(texts)).tolist()):
        if count:
            counts[texts[number]] += count
    return counts


def _bin_counts(values: NDArray[np.float32], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
