"""Passes of the Megatron engine in which a rank has nothing to do, or fails."""

from __future__ import annotations

import math
from typing import Any

from tests.integration.joining import Ending, batches, fail_in, score
from tests.integration.passes import Rows
from tests.megatron.passes import MegatronCase, build_engine, leave_engine, prepare_process, rows_of
from verl_nthr.influence.phases import Phases
from verl_nthr.integration.worker.megatron import MegatronCapture
from verl_nthr.integration.worker.recorder import Recorder
from verl_nthr.integration.worker.token_slots import TokenSlots

FAILING_PLACES = {
    "before the pass": (TokenSlots, "of_batch"),
    "in the pass": (MegatronCapture, "observe"),
    "while gathering rows": (MegatronCapture, "lm_head_rows"),
    "after the pass": (Recorder, "features"),
    "while scoring": (Phases, "score"),
}


def run_with_little_to_do(rank: int, models: str, rows: Rows, cases: list[MegatronCase]) -> list[dict[str, Any]]:
    """For every case the number of scores of each batch that leaves replicas little to do."""
    prepare_process()
    answers = []
    for case in cases:
        engine = build_engine(f"{models}/{case.model}", case)
        mine, found = rows_of(engine, rows), {}
        for name, batch in batches(rows, engine.get_data_parallel_size()).items():
            columns = score(engine, batch, mine, case)
            if columns is not None:
                found[name] = sum(not math.isnan(x) for scores in columns["scores"] for x in scores)
        answers.append({"replica": engine.get_data_parallel_rank(), "scored": found})
        leave_engine()
    return answers


def run_failing(rank: int, models: str, rows: Rows, case: MegatronCase, failing: int) -> dict[str, Ending]:
    """By place, how the pass ends here when rank ``failing`` fails there."""
    prepare_process()
    engine = build_engine(f"{models}/{case.model}", case)
    return fail_in(FAILING_PLACES, engine, rows, rows_of(engine, rows), case, fails=rank == failing)
