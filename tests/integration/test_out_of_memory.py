"""Device memory runs out on some ranks: scores come from features on the host, or every rank ends with an error."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import pytest
import torch

from tests.integration.fsdp import build_engine, rows_of
from tests.integration.joining import score
from tests.integration.passes import Case, make_rows
from tests.integration.shortage import (
    NEVER_ENOUGH,
    ROOM_FOR_STATES,
    SCORING_PLACES,
    Outcome,
    check_short,
    run_short,
)
from tests.processes import run_ranks
from verl_nthr.influence import scores
from verl_nthr.integration import fsdp

CASES = [
    Case("fsdp2", packed=True, dynamic=True, beta=-0.005, anchor_includes_self=False),
    Case("fsdp2", packed=True, dynamic=True, beta=-0.005, anchor_includes_self=False, ulysses=2),
]
PLACES = {**SCORING_PLACES, "room for states": ROOM_FOR_STATES, "never enough": NEVER_ENOUGH}
ROWS = make_rows(0, vocab_size=70)
CPU_SHORTAGE = "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"


def run(rank: int, models: str, cases: list[Case], failing: list[int]) -> list[dict[str, Outcome]]:
    os.environ["VERL_PLATFORM"] = "cpu"
    found = []
    for case in cases:
        engine = build_engine(models, case)
        found.append(run_short(PLACES, engine, ROWS, rows_of(engine, ROWS), case, fails=rank in failing))
    return found


@pytest.mark.covers("FSDP: device memory that runs out while scoring")
@pytest.mark.parametrize(
    ("ranks", "failing"),
    [(1, [0]), (2, [1]), pytest.param(2, [0, 1], marks=pytest.mark.distributed)],
    ids=["one rank", "one of two", "both"],
)
def test_scores_are_the_same_from_features_on_the_host(models: Path, ranks: int, failing: list[int]) -> None:
    cases = CASES[:ranks]
    results = run_ranks(run, ranks, str(models), cases, failing, timeout=300)
    for result in results:
        if isinstance(result, Exception):
            raise result
    for index in range(len(cases)):
        check_short([result[index] for result in results], lambda rank: rank in failing)


def run_without_help(rank: int, models: str) -> dict[str, str]:
    """What this rank raises where more memory on the device would not help."""
    os.environ["VERL_PLATFORM"] = "cpu"
    engine = build_engine(models, CASES[0])
    errors: dict[str, tuple[object, str, list[Exception | None]]] = {
        "in a micro-batch": (fsdp._MicroBatch, "observe", [torch.OutOfMemoryError("CUDA out of memory"), None]),
        "on the host": (scores._Scorer, "directions", [None, RuntimeError(CPU_SHORTAGE)]),
        "beside a bug": (scores._Scorer, "directions", [torch.OutOfMemoryError("full"), ZeroDivisionError("a bug")]),
    }
    found = {}
    for place, (owner, name, of_rank) in errors.items():
        change = mock.patch.object(owner, name, side_effect=of_rank[rank]) if of_rank[rank] else mock.MagicMock()
        with change:
            try:
                found[place] = repr(score(engine, ROWS, rows_of(engine, ROWS), CASES[0]) is None)
            except (RuntimeError, ZeroDivisionError) as error:
                found[place] = f"{type(error).__name__}: {error}"
    return found


@pytest.mark.covers("FSDP: device memory that runs out while scoring")
def test_what_cannot_be_tried_again_ends_every_rank(models: Path) -> None:
    first, second = run_ranks(run_without_help, 2, str(models), timeout=300)
    told = "RemoteError: NTHR failed on rank {} of 2: {}".format
    assert first["in a micro-batch"].startswith("RuntimeError: the device ran out of memory while NTHR recorded")
    assert "algorithm.nthr.feature_device=host" in first["in a micro-batch"]
    assert second["in a micro-batch"] == told(0, first["in a micro-batch"])
    assert second["on the host"] == f"RuntimeError: {CPU_SHORTAGE}"
    assert first["on the host"] == told(1, second["on the host"])
    assert second["beside a bug"] == "ZeroDivisionError: a bug"
    assert first["beside a bug"] == told(1, second["beside a bug"])
