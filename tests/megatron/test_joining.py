"""Every rank joins every collective: with nothing to score, without a response, and when one of them fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.joining import check_failures
from tests.integration.passes import Rows
from tests.megatron.joining import run_failing, run_with_little_to_do
from tests.megatron.passes import MegatronCase, case
from tests.processes import run_ranks

pytestmark = [pytest.mark.distributed, pytest.mark.covers("Megatron: a rank with nothing to do or an error")]


@pytest.mark.parametrize(
    ("ranks", "cases"),
    [(2, [case(), case(context=2), case(pipeline=2)]), (4, [case(tensor=2), case(context=2), case(pipeline=2)])],
)
def test_ranks_with_nothing_to_score_join(models: Path, rows: Rows, ranks: int, cases: list[MegatronCase]) -> None:
    results = run_ranks(run_with_little_to_do, ranks, str(models), rows, cases, timeout=300)
    for result in results:
        if isinstance(result, Exception):
            raise result
    for index in range(len(cases)):
        with_outputs = [result[index] for result in results if result[index]["scored"]]
        assert with_outputs
        for found in with_outputs:
            scored = found["scored"]
            assert (scored["mixed on one replica"] > 0) == (found["replica"] == 0)
            assert scored["mixed on none"] == scored["no token inside the masks"] == 0


@pytest.mark.parametrize(
    ("ranks", "case", "failing"),
    [
        (2, case(tensor=2, sequence_parallel=True), 1),
        (2, case(pipeline=2), 1),
        (4, case(tensor=2, context=2), 2),
        (4, case(tensor=2, pipeline=2, fused=True), 3),
        (4, case(context=2), 1),
    ],
    ids=str,
)
def test_a_failure_on_one_rank_is_raised_on_every_rank(
    models: Path, rows: Rows, ranks: int, case: MegatronCase, failing: int
) -> None:
    results = run_ranks(run_failing, ranks, str(models), rows, case, failing, timeout=300)
    check_failures(results, failing)
