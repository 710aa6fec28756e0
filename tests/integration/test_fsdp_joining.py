"""Every rank of an FSDP engine joins: with nothing to score, without a token, and when one of them fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.coverage import covers
from tests.integration.fsdp import build_engine, rows_of
from tests.integration.joining import batches, check_failures, fail_in, score
from tests.integration.passes import Case, make_rows
from tests.integration.references import check_scores
from tests.processes import run_ranks
from verl_nthr.influence.phases import Phases
from verl_nthr.integration.worker.fsdp import FSDPCapture
from verl_nthr.integration.worker.recorder import Recorder
from verl_nthr.integration.worker.token_slots import TokenSlots

CASES = [
    Case("fsdp2", packed=True, dynamic=True),
    Case("fsdp", packed=False, dynamic=False),
    Case("fsdp2", packed=True, dynamic=True, ulysses=2),
]
ROWS = make_rows(0, vocab_size=70)
BATCHES = batches(ROWS, 2)
FAILING_PLACES = {
    "before the pass": (TokenSlots, "of_batch"),
    "before a micro-batch": (FSDPCapture, "locate"),
    "at the LM head": (Recorder, "observe"),
    "after a micro-batch": (Recorder, "finish"),
    "after the pass": (Recorder, "features"),
    "while summing": (Phases, "accumulate"),
    "while scoring": (Phases, "score"),
    "while averaging": (Phases, "anchors"),
    "while making columns": (TokenSlots, "scatter"),
}
FAILING = 1


def run_joining(rank: int, models: str, cases: list[Case]) -> list[dict[str, Any]]:
    """For every case the answers of batches with little to do, and the errors where one rank fails."""
    results = []
    for case in cases:
        engine = build_engine(models, case)
        mine = rows_of(engine, ROWS)
        little_to_do = {name: score(engine, batch, mine, case) for name, batch in BATCHES.items()}
        failures = fail_in(FAILING_PLACES, engine, ROWS, mine, case, fails=rank == FAILING)
        results.append({"little to do": little_to_do, "failures": failures})
    return results


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((2, CASES), id="2 ranks"),
        pytest.param((4, CASES[2:]), id="4 ranks", marks=pytest.mark.distributed),
    ],
)
def joined(request: pytest.FixtureRequest, models: Path) -> tuple[int, list[Case], list[list[dict[str, Any]]]]:
    """The number of ranks, the cases, and the results by rank and case."""
    ranks, cases = request.param
    results = run_ranks(run_joining, ranks, str(models), cases, timeout=300)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return ranks, cases, results


pytestmark = [
    pytest.mark.covers("FSDP: a rank with nothing to do or an error"),
    *(covers(case, ranks=2) for case in CASES),
]


def test_ranks_with_little_to_do_join(joined: tuple[int, list[Case], list[list[dict[str, Any]]]], models: Path) -> None:
    ranks, cases, results = joined
    for index, case in enumerate(cases):
        answers = [of_rank[index]["little to do"] for of_rank in results]
        for name, batch in BATCHES.items():
            found = [answer[name] for answer in answers if answer[name] is not None]
            assert len(found) == ranks // case.ulysses
            if "on one replica" in name:
                check_scores(found, models, batch, case)
                continue
            for columns in found:
                assert all(x != x for row in columns["scores"] for x in row)


def test_a_failure_on_one_rank_is_raised_on_every_rank(
    joined: tuple[int, list[Case], list[list[dict[str, Any]]]],
) -> None:
    _, cases, results = joined
    for index in range(len(cases)):
        check_failures([of_rank[index]["failures"] for of_rank in results], FAILING)
