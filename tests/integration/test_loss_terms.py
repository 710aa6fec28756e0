"""With loss terms, the gradient of a mini-batch is that of the formulas, however verl's FSDP engine cuts it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.integration.passes import Case, make_rows
from tests.integration.update_references import check_update, reference
from tests.integration.updates import Targets, Update, make_targets, run_updates
from tests.processes import run_ranks
from verl_nthr.integration.config.loss_options import LossTerms

ROWS = make_rows(0, vocab_size=70)
WHOLE = tuple(range(len(ROWS.group)))
APART = ((0, 2, 5, 7, 8, 11), (1, 3, 6, 4, 9, 10))
"""The second rank has no correct response, and none to preserve in its first three rows."""

BOTH = LossTerms(positive_nll_coef=0.7, llds_coef=0.9)
RUNS = [
    ("vanilla", None),
    ("vanilla", BOTH),
    ("vanilla", LossTerms(positive_nll_coef=0.7)),
    ("vanilla", LossTerms(llds_coef=0.9, llds_normalizer="all")),
    ("gspo", None),
    ("gspo", BOTH),
]
UPDATES = {
    1: (
        Update(Case("fsdp2", packed=True, dynamic=False, micro_batch_size=12), (WHOLE,), 12),
        Update(Case("fsdp2", packed=False, dynamic=False, micro_batch_size=6), (WHOLE,), 12),
        Update(Case("fsdp2", packed=True, dynamic=True), (WHOLE,), 12),
        Update(Case("fsdp2", packed=True, dynamic=False, micro_batch_size=3), (WHOLE,), 6),
        Update(Case("fsdp", packed=True, dynamic=True), (WHOLE,), 12),
    ),
    2: (
        Update(Case("fsdp2", packed=True, dynamic=True), (WHOLE[0::2], WHOLE[1::2]), 12),
        Update(Case("fsdp2", packed=True, dynamic=False, micro_batch_size=1), APART, 6),
        Update(Case("fsdp2", packed=True, dynamic=True, ulysses=2), (WHOLE,), 12),
    ),
}
"""By number of ranks."""


@pytest.fixture(scope="module")
def targets(models: Path) -> Targets:
    return make_targets(models / "untied", ROWS)


@cache
def results(models: Path, targets: Targets, ranks: int) -> list[Any]:
    """By rank, what it returned for each update, or an error that every case of the batch is to raise."""
    try:
        return run_ranks(run_updates, ranks, str(models), targets, UPDATES[ranks], RUNS, timeout=400)
    except AssertionError as hang:
        return [hang]


@pytest.mark.covers("FSDP: positive NLL and LLDS")
@pytest.mark.parametrize(
    ("ranks", "index"),
    [
        pytest.param(ranks, index, id=f"{ranks}ranks, {update}")
        for ranks, updates in UPDATES.items()
        for index, update in enumerate(updates)
    ],
)
def test_every_cut_has_the_gradients_of_the_formulas(models: Path, targets: Targets, ranks: int, index: int) -> None:
    by_rank = results(models, targets, ranks)
    check_update(by_rank, index, models / "untied", targets, UPDATES[ranks][index], RUNS)


def test_the_batch_puts_the_gate_to_the_test(models: Path, targets: Targets) -> None:
    gates = reference(models / "untied", targets, tuple(WHOLE))["gates"]
    assert any(gates)
    assert not all(gates)
