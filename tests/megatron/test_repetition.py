"""Megatron's engine: the same weights bit for bit on the same cut, but for tokens close to τ over cuts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.integration.passes import Rows, make_rows
from tests.integration.repetition import answers_of_cases, check_cuts, check_repeated, twice
from tests.megatron import test_cuts
from tests.megatron.passes import MegatronCase, build_engine, case, leave_engine, prepare_process, rows_of
from tests.processes import run_ranks

BATCHES = [make_rows(seed, vocab_size=70) for seed in range(2)]
CASES = {
    1: [case()],
    2: [case(), case(tensor=2, sequence_parallel=True), case(context=2), case(pipeline=2)],
}

pytestmark = pytest.mark.distributed


def run_twice(rank: int, models: str, cases: Sequence[MegatronCase]) -> list[list[str]]:
    prepare_process()
    spelled = []
    for each in cases:
        engine = build_engine(f"{models}/{each.model}", each)
        spelled += twice(engine, rows_of, BATCHES, each)
        leave_engine()
    return spelled


@pytest.mark.parametrize("ranks", CASES)
def test_a_pass_is_repeated_bit_for_bit_in_a_process_and_in_new_ones(models: Path, ranks: int) -> None:
    runs = [run_ranks(run_twice, ranks, str(models), CASES[ranks], timeout=300) for _ in range(2)]
    check_repeated(runs, len(BATCHES) * len(CASES[ranks]))


def test_cuts_differ_within_the_bound_and_select_the_same_tokens_beyond_it(models: Path, rows: Rows) -> None:
    cuts = []
    for ranks, cases in test_cuts.THOROUGH.items():
        cuts += zip(cases, answers_of_cases(test_cuts.results(models, rows, ranks, cases)), strict=True)
    assert check_cuts(cuts) > 50
