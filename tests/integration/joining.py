"""Passes of an engine in which a rank has nothing to do, or fails."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any
from unittest import mock

from tests.integration.passes import Case, Rows, answers_of, make_data, request_of


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
) -> dict[str, str]:
    """By place, what this rank raises when those that are to fail do so there; then the pass is run once more without.

    Args:
        places: functions as owner and name.
        engine: verl's.
        rows: the batch.
        mine: rows of this rank.
        case: how to run the pass.
        fails: whether this rank is to fail.
    """

    def run() -> str:
        try:
            score(engine, rows, mine, case)
        except (ZeroDivisionError, RuntimeError) as error:
            return f"{type(error).__name__}: {error}"
        return "no error"

    answers = {}
    for place, (owner, name) in places.items():
        with mock.patch.object(owner, name, _fail if fails else getattr(owner, name)):
            answers[place] = run()
    answers["nowhere"] = run()
    return answers


def check_failures(results: list[Any], failing: int) -> None:
    """Check what :func:`fail_in` returned on each rank.

    Raises:
        AssertionError: an error was not raised on every rank, or the pass without one failed.
    """
    for rank, found in enumerate(results):
        if isinstance(found, Exception):
            raise found
        assert found.pop("nowhere") == "no error"
        for place, message in found.items():
            own = "ZeroDivisionError: this rank fails"
            assert message == own if rank == failing else message.startswith("RuntimeError: NTHR failed on 1"), place


def _fail(*_: Any, **__: Any) -> None:
    raise ZeroDivisionError("this rank fails")
