"""Passes of an engine in which memory runs out."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch

from tests.integration.joining import score
from tests.integration.passes import Case, Rows
from verl_nthr.influence.features import TokenFeatures
from verl_nthr.influence.phases import Phases
from verl_nthr.integration.worker.recorder import Recorder


@dataclass(frozen=True)
class Shortage:
    """Where memory runs out, and when."""

    owner: Any
    name: str
    """Of a function of ``owner``."""
    calls: tuple[int, ...] = (1,)
    """Those calls of the function that find no memory, from 1; none for all of them."""
    caller: str = ""
    """The function from which those calls come; empty for any."""


SCORING_PLACES = {
    "features": Shortage(Recorder, "features"),
    "M⁺": Shortage(Phases, "accumulate"),
    "scores": Shortage(Phases, "score"),
    "influence on others": Shortage(Phases, "responses_of"),
    "hidden states, second block": Shortage(TokenFeatures, "hidden_of", calls=(2,)),
    "hidden states, third block": Shortage(TokenFeatures, "hidden_of", calls=(3,)),
    "anchors": Shortage(Phases, "anchors"),
}
ROOM_FOR_STATES = Shortage(torch, "empty", caller="_enlarged")
NEVER_ENOUGH = Shortage(Phases, "accumulate", calls=())


@dataclass(frozen=True)
class Outcome:
    """How a pass went on a rank."""

    error: str
    """Type and text, or empty."""
    warned: list[str]
    """What this package warned of."""
    same: bool
    """Whether the answers are those of a pass with enough memory, bit by bit."""


def run_short(
    places: Mapping[str, Shortage], engine: Any, rows: Rows, mine: list[int], case: Case, *, fails: bool
) -> dict[str, Outcome]:
    """By place, the outcome of a pass in which memory runs out on those ranks that are to fail."""
    undisturbed = repr(score(engine, rows, mine, case))
    outcomes = {}
    for place, shortage in places.items():
        error, answers = "", ""
        with warnings.catch_warnings(record=True) as caught, short_of_memory(shortage, fails=fails):
            warnings.simplefilter("always")
            try:
                answers = repr(score(engine, rows, mine, case))
            except RuntimeError as raised:
                error = f"{type(raised).__name__}: {raised}"
        warned = [str(x.message) for x in caught if "feature_device" in str(x.message)]
        outcomes[place] = Outcome(error, warned, answers == undisturbed)
    return outcomes


@contextmanager
def short_of_memory(shortage: Shortage, *, fails: bool) -> Iterator[None]:
    """A function finds no device memory while the context is open, if it is to fail."""
    original, count = getattr(shortage.owner, shortage.name), [0]

    def function(*args: Any, **kwargs: Any) -> Any:
        if shortage.caller in ("", sys._getframe(1).f_code.co_name):
            count[0] += 1
            if not shortage.calls or count[0] in shortage.calls:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return original(*args, **kwargs)

    with mock.patch.object(shortage.owner, shortage.name, function if fails else original):
        yield


def check_short(outcomes: list[dict[str, Outcome]], failing: Callable[[int], bool]) -> None:
    """Check what :func:`run_short` returned on each rank for the places of this module.

    Raises:
        AssertionError: the answers changed, a rank was not told, or it did not end where there is never enough memory.
    """
    told = f"rank {next(rank for rank in range(len(outcomes)) if failing(rank))} of {len(outcomes)}"
    for rank, found in enumerate(outcomes):
        for place in SCORING_PLACES:
            assert (found[place].error, found[place].same) == ("", True), place
            (warning,) = found[place].warned
            assert warning.startswith("device memory ran out while NTHR took scores; they are taken once more")
            assert told in warning
        room = found["room for states"]
        assert (room.error, room.same) == ("", True)
        assert len(room.warned) == failing(rank)
        never = found["never enough"]
        assert never.error.startswith("RuntimeError: device memory ran out while NTHR took scores, also with the")
        assert "algorithm.nthr.vocabulary=response" in never.error
        assert told in never.error
        assert len(never.warned) == 1
