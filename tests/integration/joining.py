"""Passes of an engine in which a rank has nothing to do, or fails."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock

from tests.integration.passes import Case, Rows, answers_of, make_data, request_of

LIMIT_SECONDS = 60
"""From a failure on one rank to its error on the last."""


@dataclass(frozen=True)
class Ending:
    """How a pass ended on a rank."""

    error: str
    """Type and text, or "no error"."""
    time: float
    """By the clock that all processes of a machine share."""
    failed: list[float]
    """When this rank was made to fail."""


def batches(rows: Rows, replicas: int) -> dict[str, Rows]:
    """Batches that leave some or all of the data-parallel replicas, which take their rows in turn, little to do."""
    first = range(0, len(rows.group), replicas)
    nothing = [[0] * len(mask) for mask in rows.masks]
    return {
        "mixed on one replica": dataclasses.replace(
            rows, group=[x if row in first else -1 for row, x in enumerate(rows.group)]
        ),
        "tokens on one replica": dataclasses.replace(
            rows, masks=[mask if row in first else nothing[row] for row, mask in enumerate(rows.masks)]
        ),
        "mixed on none": dataclasses.replace(rows, correct=[False] * len(rows.correct)),
        "no token inside the masks": dataclasses.replace(rows, masks=nothing),
    }


def score(engine: Any, rows: Rows, mine: list[int], case: Case) -> dict[str, Any] | None:
    """The answers of a scored pass; None on a rank whose outputs verl does not collect."""
    with engine.eval_mode():
        outputs = engine.infer_batch(make_data(rows, mine, case, request=request_of(case)))
    return answers_of(mine, outputs["model_output"]) if engine.is_mp_src_rank_with_outputs() else None


def fail_in(
    places: Mapping[str, tuple[Any, str]], engine: Any, rows: Rows, mine: list[int], case: Case, *, fails: bool
) -> dict[str, Ending]:
    """By place, how the pass ends here when those that are to fail do so there; then "nowhere", without a failure.

    Args:
        places: functions as owner and name.
        engine: verl's.
        rows: the batch.
        mine: rows of this rank.
        case: how to run the pass.
        fails: whether this rank is to fail.
    """
    endings = {}
    for place, (owner, name) in places.items():
        failed: list[float] = []
        function = partial(_fail, failed) if fails else getattr(owner, name)
        with mock.patch.object(owner, name, function):
            endings[place] = _ending(engine, rows, mine, case, failed)
    endings["nowhere"] = _ending(engine, rows, mine, case, [])
    return endings


def check_failures(results: list[Any], failing: int) -> None:
    """Check what :func:`fail_in` returned on each rank.

    Raises:
        AssertionError: an error was not raised on every rank, or not in time, or the pass without one failed.
    """
    for result in results:
        if isinstance(result, Exception):
            raise result
    own = "ZeroDivisionError: this rank fails"
    told = f"RemoteError: NTHR failed on rank {failing} of {len(results)}: {own}"
    for place in results[failing]:
        endings = [result[place] for result in results]
        if place == "nowhere":
            assert [ending.error for ending in endings] == ["no error"] * len(results)
            continue
        assert [ending.error for ending in endings] == [own if x == failing else told for x in range(len(results))]
        seconds = max(ending.time for ending in endings) - endings[failing].failed[0]
        print(f"{place}: raised on every rank after {seconds:.2f} s")
        assert seconds < LIMIT_SECONDS, place


def _ending(engine: Any, rows: Rows, mine: list[int], case: Case, failed: list[float]) -> Ending:
    try:
        score(engine, rows, mine, case)
    except (ZeroDivisionError, RuntimeError) as error:
        return Ending(f"{type(error).__name__}: {error}", time.monotonic(), failed)
    return Ending("no error", time.monotonic(), failed)


def _fail(failed: list[float], *_: Any, **__: Any) -> None:
    failed.append(time.monotonic())
    raise ZeroDivisionError("this rank fails")
