"""With loss terms, the gradient of a mini-batch has the norm of the formulas', however Megatron's engine cuts it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.integration.passes import Rows
from tests.integration.update_references import check_update
from tests.integration.updates import NORM, Targets, Update, make_targets, run_update
from tests.megatron.passes import case, configs, leave_engine, prepare_process
from tests.processes import run_ranks
from verl_nthr.integration.config.loss_options import LossTerms

WHOLE = tuple(range(12))
RUNS = (
    ("vanilla", None),
    ("vanilla", LossTerms(positive_nll_coef=0.7, llds_coef=0.9)),
    ("vanilla", LossTerms(positive_nll_coef=0.7)),
    ("vanilla", LossTerms(llds_coef=0.9, llds_normalizer="all")),
)
UPDATES = (
    Update(case(pipeline=2), (WHOLE,), 12),
    Update(case(context=2), (WHOLE,), 12),
    Update(case(pipeline=2, dynamic=False, micro_batch_size=3), (WHOLE,), 6),
    Update(case(tensor=2, sequence_parallel=True, packed=False), (WHOLE,), 12),
    Update(case(), (WHOLE[0::2], WHOLE[1::2]), 12),
)


def run_updates(rank: int, models: str, targets: Targets) -> list[list[dict[str, Any]]]:
    """By update and run, what :func:`run_update` says of verl's Megatron engine."""
    prepare_process()
    answers = []
    for update in UPDATES:
        settings = configs(f"{models}/untied", update.case, forward_only=False)
        answers.append(run_update(settings, gradient_norm, targets, update, RUNS))
        leave_engine()
    return answers


def gradient_norm(engine: Any) -> dict[str, Any]:
    """The norm of all gradients, which lie on several ranks."""
    engine.optimizer.prepare_grads()
    return {NORM: float(engine.optimizer.get_grad_norm())}


@cache
def results(models: Path, targets: Targets) -> list[Any]:
    """By rank, what it returned for each update, or an error that every case is to raise."""
    try:
        return run_ranks(run_updates, 2, str(models), targets, timeout=400)
    except AssertionError as hang:
        return [hang]


@pytest.mark.distributed
@pytest.mark.covers("Megatron: positive NLL and LLDS")
@pytest.mark.parametrize("index", [pytest.param(i, id=str(update)) for i, update in enumerate(UPDATES)])
def test_every_cut_has_the_gradients_of_the_formulas(models: Path, rows: Rows, index: int) -> None:
    targets = make_targets(models / "untied", rows)
    check_update(results(models, targets), index, models / "untied", targets, UPDATES[index], RUNS)
