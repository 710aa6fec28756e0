"""Numbers that are not finite in a real engine's pass, and what the columns must be then."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from tests.integration.passes import Rows
from verl_nthr.integration.worker.recorder import Recorder

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

    def hits(self, stage: str, recorder: Recorder, mine: Sequence[int], slot: Tensor) -> Tensor:
        """[t] bool, the tokens of some slots [t] that are hit at a stage.

        Args:
            stage: of the pass.
            recorder: of the pass.
            mine: rows of this rank.
            slot: [t] int64.
        """
        if stage != self.stage:
            return torch.zeros(len(slot), dtype=torch.bool)
        rows = torch.tensor(mine)[recorder.slots.row]
        hit = torch.isin(rows, torch.tensor(self.rows))
        if self.one_token:
            is_first = torch.ones(len(rows), dtype=torch.bool)
            is_first[1:] = rows[1:] != rows[:-1]
            hit &= is_first
        return hit[slot]


@contextmanager
def injected(fault: Fault | None, mine: Sequence[int]) -> Iterator[None]:
    """Passes of any engine go wrong while the context is open.

    Args:
        fault: None for no fault.
        mine: rows of this rank.
    """
    if fault is None:
        yield
        return
    observe, observe_logits, finish = Recorder.observe, Recorder.observe_logits, Recorder.finish

    def faulty_observe(self: Recorder, hidden: Tensor, own: Tensor | None = None, place: Tensor | None = None) -> None:
        slot, rows = self.tokens.slot, self.place if place is None else place
        slot = slot if own is None else slot[own]
        rows = self.place[own] if own is not None and place is None else rows
        # what the LM head gets, if it has not had it yet
        hidden[rows[fault.hits("hidden", self, mine, slot)]] = fault.value
        observe(self, hidden, own, place)

    def faulty_observe_logits(self: Recorder, logits: Tensor, *args: Any, **kwargs: Any) -> None:
        logits[self.place[fault.hits("hidden", self, mine, self.tokens.slot)]] = NAN
        observe_logits(self, logits, *args, **kwargs)

    def faulty_finish(self: Recorder, log_probs: Tensor) -> None:
        tokens = self.tokens
        log_probs[tokens.position[fault.hits("log_probs", self, mine, tokens.slot)]] = fault.value
        finish(self, log_probs)

    with (
        torch.no_grad(),
        mock.patch.object(Recorder, "observe", faulty_observe),
        mock.patch.object(Recorder, "observe_logits", faulty_observe_logits),
        mock.patch.object(Recorder, "finish", faulty_finish),
    ):
        yield


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


def check_columns(sound: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]], rows: Rows, fault: Fault) -> None:
    """Check the columns of a pass.

    Args:
        sound: of the ranks with outputs, of the pass without a fault.
        found: of the pass with it.
        rows: the batch.
        fault: that was injected.

    Raises:
        AssertionError: a group with a fault has a score or an anchor, or another number is not bitwise the sound one.
    """
    in_play = rows.in_play()
    bad = {rows.group[row] for row in fault.rows if in_play[row]}
    for before, after in zip(sound, found, strict=True):
        assert before["mine"] == after["mine"]
        for place, row in enumerate(after["mine"]):
            scores, anchor = after["scores"][place], after["anchors"][place]
            if rows.group[row] in bad:
                assert all(math.isnan(score) for score in (anchor, *scores)), (fault, row)
            else:
                expected = [before["anchors"][place], *before["scores"][place]]
                torch.testing.assert_close(
                    torch.tensor([anchor, *scores]), torch.tensor(expected), rtol=0, atol=0, equal_nan=True
                )
