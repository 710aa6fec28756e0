"""Ways in which verl's FSDP engines share out or speed up the pass: none of them changes a score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.models import make_adapters, make_model
from tests.integration.passes import Case, make_rows, run_scored
from tests.integration.references import check_log_probs, check_scores
from tests.processes import run_ranks

SETS: dict[str, tuple[int, list[Case]]] = {
    "1 rank": (
        1,
        [
            Case("fsdp2", packed=True, dynamic=True, adapter="linear"),
            Case("fsdp2", packed=False, dynamic=True, adapter="linear", vocabulary="full"),
            Case("fsdp", packed=True, dynamic=True, adapter="linear"),
            Case("fsdp2", packed=True, dynamic=True, padded_to=64),
            Case("fsdp2", packed=True, dynamic=False, offload=True),
        ],
    ),
    "1 rank, fused": (
        1,
        [
            Case("fsdp2", packed=True, dynamic=True, tied=True, fused=True),
            Case("fsdp2", packed=False, dynamic=False, tied=True, fused=True),
            Case("fsdp", packed=True, dynamic=True, fused=True),
            Case("fsdp", packed=True, dynamic=True, fused=True, adapter="linear"),
        ],
    ),
    "2 ranks": (
        2,
        [
            Case("fsdp2", packed=True, dynamic=True, ulysses=2),
            Case("fsdp2", packed=True, dynamic=False, ulysses=2, tied=True, anchor_includes_self=False),
            Case("fsdp2", packed=True, dynamic=True, ulysses=2, padded_to=50),
            Case("fsdp2", packed=True, dynamic=True, ulysses=2, adapter="linear"),
            Case("fsdp", packed=True, dynamic=True, adapter="linear"),
        ],
    ),
    "2 ranks, fused": (
        2,
        [
            Case("fsdp2", packed=True, dynamic=True, ulysses=2, tied=True, fused=True),
            Case("fsdp2", packed=True, dynamic=True, tied=True, fused=True),
            Case("fsdp", packed=True, dynamic=True, tied=True, fused=True),
        ],
    ),
    "4 ranks": (4, [Case("fsdp2", packed=True, dynamic=True, ulysses=2)]),
}
"""By name: ranks and cases. verl's fused forward replaces that of the model's class, so that it has processes alone."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_model(folder / "tied", tied=True)
    make_model(folder / "untied", tied=False)
    make_adapters(folder)
    return folder


@pytest.mark.parametrize("name", SETS)
def test_scores_and_weights_are_those_of_hugging_face(models: Path, name: str) -> None:
    ranks, cases = SETS[name]
    rows = make_rows(0, vocab_size=70)
    results = run_ranks(run_scored, ranks, str(models), rows, cases, timeout=300)
    for result in results:
        if isinstance(result, Exception):
            raise result
    for index, case in enumerate(cases):
        found: list[dict[str, Any]] = [of_rank[index] for of_rank in results if of_rank[index] is not None]
        assert len(found) == ranks // case.ulysses
        check_log_probs(found, models, rows, case)
        check_scores(found, models, rows, case)


@pytest.mark.parametrize(
    ("case", "way_out"),
    [
        (Case("fsdp2", packed=True, dynamic=True, fused=True), "use_fused_kernels=False"),
        (Case("fsdp", packed=True, dynamic=True, adapter="head"), "target_modules"),
    ],
    ids=["fused, untied, fsdp2", "adapter on the output layer"],
)
def test_what_is_refused(models: Path, case: Case, way_out: str) -> None:
    (error,) = run_ranks(run_scored, 1, str(models), make_rows(0, vocab_size=70), [case], timeout=120)
    assert isinstance(error, TypeError)
    assert way_out in str(error)
