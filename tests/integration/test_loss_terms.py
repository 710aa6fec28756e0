"""With loss terms, the gradient of a mini-batch is that of the formulas, however verl's FSDP engine cuts it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.passes import Case, make_rows
from tests.integration.updates import NORM, Targets, Update, make_targets, reference, run_updates
from tests.processes import run_ranks
from verl_nthr.integration.loss_options import LossTerms

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


def parts_of(terms: LossTerms | None) -> dict[str, float]:
    """The parts of the reference that terms add, with their coefficients."""
    if terms is None:
        return {}
    fall = "llds" if terms.llds_normalizer == "preserved" else "llds_all"
    return {"nll": terms.positive_nll_coef, fall: terms.llds_coef}


@cache
def results(models: Path, targets: Targets, ranks: int) -> list[Any]:
    """By rank, what it returned for each update, or an error that every case of the batch is to raise."""
    try:
        return run_ranks(run_updates, ranks, str(models), targets, UPDATES[ranks], RUNS, timeout=400)
    except AssertionError as hang:
        return [hang]


def check_gradients(found: dict[str, Any], parts: Sequence[tuple[float, dict[str, Any]]]) -> None:
    """A gradient must be a weighted sum of others, to float32's accuracy of the largest entry of a parameter."""
    wanted = {name: sum(weight * part[name] for weight, part in parts) for name in parts[0][1]}
    if NORM in found:
        wanted = {NORM: np.sqrt(sum((gradient**2).sum() for gradient in wanted.values()))}
    assert set(found) == set(wanted)
    for name, gradient in found.items():
        assert np.abs(gradient - wanted[name]).max() <= 1e-5 * max(1.0, np.abs(wanted[name]).max()), name


def check_metrics(
    found: dict[str, Any], plain: dict[str, Any], terms: LossTerms | None, expected: dict[str, Any], number: int
) -> None:
    """Metrics of a mini-batch: the terms asked for and no others, and a loss that has them."""
    values, wanted = expected["values"], {}
    if terms is not None and terms.positive_nll_coef:
        wanted["actor/positive_nll_loss"] = values["nll"]
    if terms is not None and terms.llds_coef:
        wanted["actor/llds_loss"] = values["llds" if terms.llds_normalizer == "preserved" else "llds_all"]
        wanted["actor/llds_active_fraction"] = float(np.mean(expected["gates"]))
    ours = {name: value[number] for name, value in found.items() if "nll" in name or "llds" in name}
    assert ours == pytest.approx(wanted, rel=1e-5)
    added = sum(weight * values[name] for name, weight in parts_of(terms).items())
    assert found["loss"][number] - plain["loss"][number] == pytest.approx(added, rel=1e-4, abs=1e-6)
    assert set(found) - set(ours) == set(plain)


@pytest.mark.parametrize(
    ("ranks", "index"),
    [
        pytest.param(ranks, index, id=f"{ranks}ranks, {update}")
        for ranks, updates in UPDATES.items()
        for index, update in enumerate(updates)
    ],
)
def test_every_cut_has_the_gradients_of_the_formulas(models: Path, targets: Targets, ranks: int, index: int) -> None:
    update = UPDATES[ranks][index]
    by_rank = results(models, targets, ranks)
    for result in by_rank:
        if isinstance(result, BaseException):
            raise result
    size = update.mini_batch // len(update.shares)
    for number in range(len(ROWS.group) // update.mini_batch):
        chosen = tuple(i for share in update.shares for i in share[number * size : (number + 1) * size])
        expected = reference(models / "untied", targets, chosen)
        for result in by_rank:
            for (loss_mode, terms), run in zip(RUNS, result[index], strict=True):
                plain = result[index][RUNS.index((loss_mode, None))]
                added = [(weight, expected["gradients"][name]) for name, weight in parts_of(terms).items()]
                if loss_mode == "vanilla":
                    check_gradients(run["gradients"][number], [(1.0, expected["gradients"]["policy"]), *added])
                elif NORM not in run["gradients"][number]:
                    check_gradients(run["gradients"][number], [(1.0, plain["gradients"][number]), *added])
                if run["metrics"] is not None:
                    check_metrics(run["metrics"], plain["metrics"], terms, expected, number)
                assert run["same_loss_function"] == (terms is None)
    assert any(run["metrics"] is not None for result in by_rank for run in result[index])


def test_the_batch_puts_the_gate_to_the_test(models: Path, targets: Targets) -> None:
    gates = reference(models / "untied", targets, tuple(WHOLE))["gates"]
    assert any(gates)
    assert not all(gates)
