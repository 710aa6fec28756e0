"""Passes of the Megatron engine in which memory runs out, or verl's own work fails."""

from __future__ import annotations

from typing import Any

from tests.integration.interruption import run_interrupted
from tests.integration.passes import Rows
from tests.integration.shortage import NEVER_ENOUGH, ROOM_FOR_STATES, SCORING_PLACES, Outcome, run_short
from tests.megatron.passes import MegatronCase, build_engine, prepare_process, rows_of

PLACES = {**SCORING_PLACES, "room for states": ROOM_FOR_STATES, "never enough": NEVER_ENOUGH}


def run_short_of_memory(rank: int, models: str, rows: Rows, case: MegatronCase, failing: int) -> dict[str, Outcome]:
    """How this rank fares in every place where memory runs out on rank ``failing``."""
    prepare_process()
    engine = build_engine(f"{models}/{case.model}", case)
    return run_short(PLACES, engine, rows, rows_of(engine, rows), case, fails=rank == failing)


def run_interrupted_forward(rank: int, models: str, rows: Rows, case: MegatronCase) -> Any:
    """What an error in the forward of every rank leaves behind."""
    prepare_process()
    engine = build_engine(f"{models}/{case.model}", case)
    from verl.utils.megatron_utils import unwrap_model

    model = engine.module[-1]
    return run_interrupted(engine, model, unwrap_model(model).output_layer, rows, rows_of(engine, rows), case)
