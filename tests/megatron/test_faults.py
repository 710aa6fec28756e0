"""Memory that runs out on a rank, and an error in verl's own pass, on cuts of the Megatron engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.interruption import check_interrupted
from tests.integration.passes import Rows
from tests.integration.shortage import check_short
from tests.megatron.faults import run_interrupted_forward, run_short_of_memory
from tests.megatron.passes import MegatronCase, case
from tests.processes import run_ranks

pytestmark = pytest.mark.distributed


@pytest.mark.covers("Megatron: a rank with nothing to do or an error")
@pytest.mark.parametrize(
    "case",
    [
        case(tensor=2, sequence_parallel=True, anchor_includes_self=False),
        case(context=2, anchor_includes_self=False),
        case(anchor_includes_self=False),
    ],
    ids=["TP", "CP", "DP"],
)
def test_scores_are_the_same_from_features_on_the_host(models: Path, rows: Rows, case: MegatronCase) -> None:
    results = run_ranks(run_short_of_memory, 2, str(models), rows, case, 1, timeout=300)
    for result in results:
        if isinstance(result, Exception):
            raise result
    check_short(results, lambda rank: rank == 1)


def test_an_error_in_the_forward_leaves_nothing_behind(models: Path, rows: Rows) -> None:
    for result in run_ranks(run_interrupted_forward, 2, str(models), rows, case(tensor=2), timeout=300):
        check_interrupted(result)
