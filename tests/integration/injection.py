"""Numbers that are not finite in a real engine's pass, and what the columns must be then."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tests.integration.passes import Rows
from verl_nthr.integration.recording import Recording

NAN, INF = math.nan, math.inf


@dataclass(frozen=True)
class Fault:
    """Where a pass goes wrong."""

    stage: str
    """ "hidden": the state that enters the output layer; "log_probs": what verl computes for the token."""

    value: float
    rows: tuple[int, ...]
    """Rows of the batch."""

    one_token: bool = True
    """Whether the first token of each row alone is hit."""

    only_rank: int | None = None
    """The one rank that sees it; None for all that hold the tokens."""

    def hits(self, stage: str, rank: int, recording: Recording, mine: Sequence[int], slot: Tensor) -> Tensor:
        """[t] bool, which of the tokens of some slots [t] are hit at a stage.

        Args:
            stage: of the pass.
            rank: this rank.
            recording: of the pass.
            mine: rows of this rank.
            slot: [t] int64.
        """
        if stage != self.stage or self.only_rank not in (None, rank):
            return torch.zeros(len(slot), dtype=torch.bool)
        rows = torch.tensor(mine)[recording.slots.row]
        hit = torch.isin(rows, torch.tensor(self.rows))
        if self.one_token:
            is_first = torch.ones(len(rows), dtype=torch.bool)
            is_first[1:] = rows[1:] != rows[:-1]
            hit &= is_first
        return hit[slot]


def faults_of(rows: Rows, ranks: int) -> list[Fault]:
    """Faults of one token, of one response and of one of the data-parallel replicas, which take their rows in turn."""
    in_play = rows.in_play()
    right, wrong = (next(i for i, c in enumerate(rows.correct) if in_play[i] and c == kind) for kind in (True, False))
    values = [("hidden", NAN), ("hidden", INF), ("hidden", 3e38), ("log_probs", NAN), ("log_probs", -INF)]
    return [
        *[Fault(stage, value, (right,)) for stage, value in values],
        *[Fault(stage, value, (wrong,)) for stage, value in values if value != 3e38],
        Fault("log_probs", INF, (wrong,), one_token=False),
        Fault("hidden", NAN, tuple(range(len(in_play)))[ranks - 1 :: ranks], one_token=False),
    ]


def check_columns(
    sound: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]], rows: Rows, fault: Fault | None
) -> None:
    """Check the columns of a pass.

    Args:
        sound: of the ranks with outputs, of the pass without a fault.
        found: of the pass with it.
        rows: the batch.
        fault: that was injected; None if no rank could see it.

    Raises:
        AssertionError: a group with a fault has a score or τ, or another number is not bitwise that of the sound pass.
    """
    in_play = rows.in_play()
    bad = set() if fault is None else {rows.group[row] for row in fault.rows if in_play[row]}
    for before, after in zip(sound, found, strict=True):
        assert before["mine"] == after["mine"]
        for place, row in enumerate(after["mine"]):
            scores, threshold = after["scores"][place], after["threshold"][place]
            if rows.group[row] in bad:
                assert all(math.isnan(score) for score in (threshold, *scores)), (fault, row)
            else:
                expected = [before["threshold"][place], *before["scores"][place]]
                torch.testing.assert_close(
                    torch.tensor([threshold, *scores]), torch.tensor(expected), rtol=0, atol=0, equal_nan=True
                )
