"""Device memory runs out on some ranks: scores come from features on the host, or every rank ends with an error."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import torch.distributed as dist

from tests.integration.fsdp import build_engine, rows_of
from tests.integration.joining import score
from tests.integration.passes import Case, make_rows
from tests.integration.shortage import (
    NEVER_ENOUGH,
    ROOM_FOR_STATES,
    SCORING_PLACES,
    check_short,
    run_short,
)
from tests.processes import run_ranks
from verl_nthr.influence.phases import Phases
from verl_nthr.integration.worker.recorder import Recorder

CASES = [
    Case("fsdp2", packed=True, dynamic=True, anchor_includes_self=False),
    Case("fsdp2", packed=True, dynamic=True, anchor_includes_self=False, ulysses=2),
]
PLACES = {**SCORING_PLACES, "room for states": ROOM_FOR_STATES, "never enough": NEVER_ENOUGH}
ROWS = make_rows(0, vocab_size=70)
CPU_SHORTAGE = "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"


def run(rank: int, models: str, cases: list[Case], failing: list[int]) -> dict[str, Any]:
    """How this rank fares in every case, and, of two ranks, what it raises where trying again would not help."""
    engines = [build_engine(models, case) for case in cases]
    return {
        "short": [
            run_short(PLACES, engine, ROWS, rows_of(engine, ROWS), case, fails=rank in failing)
            for engine, case in zip(engines, cases, strict=True)
        ],
        "helpless": run_helpless(rank, engines[0]) if dist.get_world_size() == 2 else {},
    }


def run_helpless(rank: int, engine: Any) -> dict[str, str]:
    """By place, what this rank raises where more memory on the device would not help."""
    errors: dict[str, tuple[object, str, list[Exception | None]]] = {
        "in a micro-batch": (Recorder, "observe", [torch.OutOfMemoryError("CUDA out of memory"), None]),
        "on the host": (Phases, "accumulate", [None, RuntimeError(CPU_SHORTAGE)]),
        "beside a bug": (Phases, "accumulate", [torch.OutOfMemoryError("full"), ZeroDivisionError("a bug")]),
    }
    found = {}
    for place, (owner, name, of_rank) in errors.items():
        with mock.patch.object(owner, name, side_effect=of_rank[rank]) if of_rank[rank] else nullcontext():
            try:
                score(engine, ROWS, rows_of(engine, ROWS), CASES[0])
                found[place] = "no error"
            except (RuntimeError, ZeroDivisionError) as error:
                found[place] = f"{type(error).__name__}: {error}"
    return found


def results_of(models: Path, ranks: int, cases: list[Case], failing: list[int]) -> list[dict[str, Any]]:
    """What :func:`run` returned on each rank."""
    results = run_ranks(run, ranks, str(models), cases, failing, timeout=300)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


@pytest.fixture(scope="module")
def one_of_two(models: Path) -> list[dict[str, Any]]:
    return results_of(models, 2, CASES[:1], [1])


pytestmark = pytest.mark.covers("FSDP: a rank with nothing to do or an error")


@pytest.mark.distributed
def test_scores_of_one_rank_are_the_same_from_features_on_the_host(models: Path) -> None:
    check_all(results_of(models, 1, CASES[:1], [0]), [0])


def test_scores_are_the_same_where_one_of_two_ranks_has_no_memory(one_of_two: list[dict[str, Any]]) -> None:
    check_all(one_of_two, [1])


@pytest.mark.distributed
def test_scores_are_the_same_where_neither_rank_has_memory(models: Path) -> None:
    check_all(results_of(models, 2, CASES, [0, 1]), [0, 1])


def check_all(results: list[dict[str, Any]], failing: list[int]) -> None:
    """Check all cases."""
    for of_ranks in zip(*(result["short"] for result in results), strict=True):
        check_short(list(of_ranks), lambda rank: rank in failing)


def test_what_cannot_be_tried_again_ends_every_rank(one_of_two: list[dict[str, Any]]) -> None:
    first, second = (result["helpless"] for result in one_of_two)
    told = "RemoteError: NTHR failed on rank {} of 2: {}".format
    assert first["in a micro-batch"].startswith("RuntimeError: the device ran out of memory while NTHR recorded")
    assert "algorithm.nthr.feature_device=host" in first["in a micro-batch"]
    assert second["in a micro-batch"] == told(0, first["in a micro-batch"])
    assert second["on the host"] == f"RuntimeError: {CPU_SHORTAGE}"
    assert first["on the host"] == told(1, second["on the host"])
    assert second["beside a bug"] == "ZeroDivisionError: a bug"
    assert first["beside a bug"] == told(1, second["beside a bug"])
