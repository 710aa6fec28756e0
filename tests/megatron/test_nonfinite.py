"""A number that is not finite in a pass of the real Megatron engine costs its group the scores, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from tests.integration.injection import NAN, Fault, check_columns, faults_of
from tests.integration.joining import score
from tests.integration.passes import Rows
from tests.integration.references import check_log_probs, check_scores
from tests.megatron.passes import MegatronCase, build_engine, case, leave_engine, prepare_process, rows_of, support_rows
from tests.processes import run_ranks
from verl_nthr.integration import megatron
from verl_nthr.integration.recording import Recording
from verl_nthr.integration.slots import SlottedTokens

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


def faults(rows: Rows, case: MegatronCase, ranks: int) -> list[Fault]:
    """As everywhere; of ranks that share tokens also one alone sees nan."""
    replicas = ranks // (case.tensor * case.context * case.pipeline)
    found = faults_of(rows, replicas)
    if case.tensor == 1:
        return found
    alone = [
        Fault(stage, NAN, (row,), only_rank=case.tensor - 1) for stage in ("hidden", "log_probs") for row in (0, 6)
    ]
    return [*found, *alone]


def run_faults(rank: int, models: str, rows: Rows, cases: list[MegatronCase], ranks: int) -> list[list[Any]]:
    """For every case, of the sound pass and of those with a fault: the answers, and whether this rank saw the fault."""
    prepare_process()
    results = []
    for cut in cases:
        engine = build_engine(f"{models}/{cut.model}", cut)
        mine = rows_of(engine, rows)
        passes = [None, *faults(rows, cut, ranks)]
        results.append([_score(fault, rank, engine, rows, mine, cut) for fault in passes])
        leave_engine()
    return results


def _score(
    fault: Fault | None, rank: int, engine: Any, rows: Rows, mine: list[int], case: MegatronCase
) -> tuple[dict[str, Any] | None, bool]:
    observe, seen = megatron.MegatronCapture._observe, []

    def faulty(
        self: megatron.MegatronCapture,
        micro_batch: Any,
        recording: Recording,
        hidden: Tensor,
        weight: Tensor,
        logits: Tensor,
    ) -> Any:
        tokens = SlottedTokens.of_micro_batch(micro_batch)
        place = self._places(micro_batch)[tokens.position]
        tokens, place = tokens[place >= 0], place[place >= 0]
        at = place % hidden.shape[0], place // hidden.shape[0]
        for stage in ("hidden", "log_probs"):
            hit = fault.hits(stage, rank, recording, mine, tokens.slot)
            seen.extend(tokens.slot[hit].tolist())
            if stage == "hidden":
                hidden = hidden.clone()
                hidden[at[0][hit], at[1][hit]] = fault.value
            if stage == "log_probs" or fault.only_rank is None:
                # what verl computes log-probs from
                logits[at[0][hit], at[1][hit]] = NAN if stage == "hidden" else fault.value
        return observe(self, micro_batch, recording, hidden, weight, logits)

    if fault is None:
        return score(engine, rows, mine, case), False
    with torch.no_grad(), mock.patch.object(megatron.MegatronCapture, "_observe", faulty):
        return score(engine, rows, mine, case), bool(seen)


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
        passes = [[of_rank[index][k] for of_rank in results] for k in range(len(results[0][index]))]
        sound, *found = ([answer for answer, _ in answers if answer is not None] for answers in passes)
        check_log_probs(sound, models, rows, cut)
        check_scores(sound, models, rows, cut)
        for fault, answers, of_ranks in zip(faults(rows, cut, ranks), found, passes[1:], strict=True):
            check_columns(sound, answers, rows, fault if any(hit for _, hit in of_ranks) else None)
