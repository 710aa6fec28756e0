"""Passes in which a rank has nothing to do, or fails."""

from __future__ import annotations

import dataclasses
import math
from typing import Any
from unittest import mock

from torch import Tensor

from tests.integration.passes import Rows, answers_of, make_data, request_of
from tests.megatron.passes import MegatronCase, build_engine, leave_engine, prepare_process, rows_of
from verl_nthr.integration import megatron, recording, slots, worker

FAILING_PLACES = {
    "before the pass": (slots.TokenSlots, "of_batch"),
    "in the pass": (megatron.MegatronCapture, "_observe"),
    "after the pass": (recording, "TokenFeatures"),
    "while scoring": (worker.GroupVocabulary, "part"),
}


def run_with_little_to_do(rank: int, models: str, rows: Rows, cases: list[MegatronCase]) -> list[dict[str, Any]]:
    """For every case: the scores when only rank 0's replica has a mixed group, when none has, and without responses."""
    prepare_process()
    answers = []
    for case in cases:
        engine = build_engine(f"{models}/{case.model}", case)
        mine = rows_of(engine, rows)
        only_mine = list(range(len(rows.group)))[:: engine.get_data_parallel_size()]
        batches = {
            "mixed on one replica": dataclasses.replace(
                rows, group=[x if row in only_mine else -1 for row, x in enumerate(rows.group)]
            ),
            "mixed on none": dataclasses.replace(rows, correct=[False] * len(rows.correct)),
            "no token inside the masks": dataclasses.replace(rows, masks=[[0] * len(mask) for mask in rows.masks]),
        }
        found = {}
        for name, batch in batches.items():
            with engine.eval_mode():
                outputs = engine.infer_batch(make_data(batch, mine, case, request=request_of(case)))
            if engine.is_mp_src_rank_with_outputs():
                columns = answers_of(mine, outputs["model_output"])
                found[name] = sum(not math.isnan(score) for scores in columns["scores"] for score in scores)
        answers.append({"replica": engine.get_data_parallel_rank(), "scored": found})
        leave_engine()
    return answers


def run_failing(rank: int, models: str, rows: Rows, case: MegatronCase, failing: int) -> dict[str, str]:
    """By place, what this rank raises when rank ``failing`` fails there; then the pass is run once more without."""
    prepare_process()
    engine = build_engine(f"{models}/{case.model}", case)
    mine = rows_of(engine, rows)

    def run() -> str:
        with engine.eval_mode():
            try:
                engine.infer_batch(make_data(rows, mine, case, request=request_of(case)))
            except (ZeroDivisionError, RuntimeError) as error:
                return f"{type(error).__name__}: {error}"
        return "no error"

    answers = {}
    for place, (owner, name) in FAILING_PLACES.items():
        with mock.patch.object(owner, name, _fail if rank == failing else getattr(owner, name)):
            answers[place] = run()
    answers["nowhere"] = run()
    return answers


def _fail(*_: Any, **__: Any) -> Tensor:
    raise ZeroDivisionError("this rank fails")
