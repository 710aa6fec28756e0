"""A number that is not finite in a pass of the real Megatron engine costs its group the scores, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.injection import check_columns, faults_of, injected
from tests.integration.joining import score
from tests.integration.passes import Rows
from tests.integration.references import check_log_probs, check_scores
from tests.megatron.passes import MegatronCase, build_engine, case, leave_engine, prepare_process, rows_of, support_rows
from tests.processes import run_ranks

CASES = {
    1: [case()],
    2: [
        case(),
        case(tensor=2, sequence_parallel=True),
        case(tensor=2, packed=False, anchor_includes_self=False),
        case(context=2),
        case(context=2, length_normalised=True, anchor_includes_self=False),
        case(pipeline=2),
    ],
    4: [case(tensor=2, context=2), case(tensor=2, context=2, length_normalised=True, anchor_includes_self=False)],
}


def replicas(case: MegatronCase, ranks: int) -> int:
    return ranks // (case.tensor * case.context * case.pipeline)


def run_faults(rank: int, models: str, rows: Rows, cases: list[MegatronCase], ranks: int) -> list[list[Any]]:
    """For every case the answers of the sound pass, and of those with a fault."""
    prepare_process()
    results = []
    for cut in cases:
        engine = build_engine(f"{models}/{cut.model}", cut)
        mine, answers = rows_of(engine, rows), []
        for fault in (None, *faults_of(rows, replicas(cut, ranks))):
            with injected(fault, mine):
                answers.append(score(engine, rows, mine, cut))
        results.append(answers)
        leave_engine()
    return results


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("ranks", "cases"),
    [
        pytest.param(
            ranks,
            cases,
            id=f"{ranks} ranks",
            marks=pytest.mark.covers(*dict.fromkeys(row for case in cases for row in support_rows(ranks, case))),
        )
        for ranks, cases in CASES.items()
    ],
)
def test_a_fault_costs_its_group_the_scores_and_no_other(
    models: Path, rows: Rows, ranks: int, cases: list[MegatronCase]
) -> None:
    results = run_ranks(run_faults, ranks, str(models), rows, cases, ranks, timeout=500)
    for result in results:
        if isinstance(result, Exception):
            raise result
    for index, cut in enumerate(cases):
        passes = ([of_rank[index][k] for of_rank in results] for k in range(len(results[0][index])))
        sound, *found = ([answer for answer in answers if answer is not None] for answers in passes)
        check_log_probs(sound, models, rows, cut)
        check_scores(sound, models, rows, cut)
        for fault, answers in zip(faults_of(rows, replicas(cut, ranks)), found, strict=True):
            check_columns(sound, answers, rows, fault)
