"""An error in verl's own pass leaves nothing of the recording behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.integration.fsdp import build_engine, rows_of
from tests.integration.interruption import check_interrupted, run_interrupted
from tests.integration.passes import Case, make_rows
from tests.processes import run_ranks

ROWS = make_rows(0, vocab_size=70)
CASES = [
    Case("fsdp2", packed=True, dynamic=True),
    Case("fsdp", packed=True, dynamic=True, tied=True, fused=True),
]


def run(rank: int, models: str) -> list[dict[str, Any]]:
    results = []
    for case in CASES:
        engine = build_engine(models, case)
        layer = engine.module.get_output_embeddings()
        results.append(run_interrupted(engine, engine.module, layer, ROWS, rows_of(engine, ROWS), case))
    return results


def test_an_error_in_the_forward_leaves_nothing_behind(models: Path) -> None:
    (results,) = run_ranks(run, 1, str(models), timeout=300)
    assert len(results) == len(CASES)
    for result in results:
        check_interrupted(result)
