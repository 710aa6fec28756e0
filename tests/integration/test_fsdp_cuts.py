"""Ways in which verl's FSDP engines share out or speed up the pass: none of them changes a score."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.integration.coverage import covers
from tests.integration.fsdp import run_refused, run_scored
from tests.integration.passes import Case, make_rows
from tests.integration.references import (
    HALF_LOG_PROBS,
    HALF_SCORES,
    HALF_SCORES_OF_FLOAT32,
    check_log_probs,
    check_scores,
)
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
            Case("fsdp", packed=True, dynamic=True, tied=True, offload=True),
            Case("fsdp2", packed=False, dynamic=True, offload_policy=True),
            Case("fsdp2", packed=True, dynamic=True, checkpointing=True),
            Case("fsdp", packed=False, dynamic=True, tied=True, checkpointing=True),
            Case("fsdp2", packed=True, dynamic=True, activation_offload=True),
            Case("fsdp2", packed=True, dynamic=True, dtype="bf16"),
            Case("fsdp2", packed=False, dynamic=True, tied=True, dtype="bf16", stored_dtype="bf16"),
            Case("fsdp", packed=True, dynamic=False, dtype="bf16", stored_dtype="bf16"),
        ],
    ),
    "1 rank, fused": (
        1,
        [
            Case("fsdp2", packed=True, dynamic=True, tied=True, fused=True),
            Case("fsdp2", packed=False, dynamic=False, tied=True, fused=True),
            Case("fsdp", packed=True, dynamic=True, fused=True),
            Case("fsdp", packed=True, dynamic=True, fused=True, adapter="linear"),
            Case("fsdp2", packed=True, dynamic=True, tied=True, fused=True, offload_policy=True),
            Case("fsdp2", packed=True, dynamic=True, tied=True, fused=True, dtype="bf16"),
            Case("fsdp", packed=True, dynamic=True, fused=True, dtype="bf16"),
        ],
    ),
    "2 ranks": (
        2,
        [
            Case("fsdp2", packed=True, dynamic=True, ulysses=2),
            Case("fsdp2", packed=True, dynamic=False, ulysses=2, tied=True, anchor_includes_self=False),
            Case("fsdp2", packed=True, dynamic=True, ulysses=2, padded_to=50),
            Case("fsdp2", packed=True, dynamic=True, ulysses=2, length_normalised=True, anchor_includes_self=False),
            Case("fsdp2", packed=True, dynamic=True, ulysses=2, adapter="linear"),
            Case("fsdp", packed=True, dynamic=True, ulysses=2, vocabulary="full"),
            Case("fsdp", packed=True, dynamic=True, adapter="linear"),
            Case("fsdp2", packed=True, dynamic=True, offload_policy=True, tied=True),
            Case("fsdp", packed=True, dynamic=True, offload=True, checkpointing=True),
            Case("fsdp2", packed=True, dynamic=True, ulysses=2, dtype="bf16"),
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

REFUSED = {
    "an adapter on the output layer": (Case("fsdp", packed=True, dynamic=True, adapter="head"), "target_modules"),
    "fused kernels on FSDP2 with untied embeddings, which fail inside verl": (
        Case("fsdp2", packed=True, dynamic=True, fused=True),
        "use_fused_kernels=False",
    ),
}
"""With a word of the way out that the error names."""


@cache
def results(models: Path, name: str) -> list[Any]:
    """By rank, what it returned for each case of a set, or an error."""
    ranks, cases = SETS[name]
    try:
        return run_ranks(run_scored, ranks, str(models), make_rows(0, vocab_size=70), cases, timeout=300)
    except AssertionError as hang:
        return [hang]


@pytest.mark.parametrize(
    ("name", "index"),
    [
        pytest.param(
            name,
            index,
            id=f"{name}: {case}",
            marks=[covers(case, ranks)] + [pytest.mark.distributed] * (ranks > 2),
        )
        for name, (ranks, cases) in SETS.items()
        for index, case in enumerate(cases)
    ],
)
def test_scores_and_thresholds_are_those_of_hugging_face(models: Path, name: str, index: int) -> None:
    for result in results(models, name):
        if isinstance(result, BaseException):
            raise result
    ranks, cases = SETS[name]
    case, rows = cases[index], make_rows(0, vocab_size=70)
    found = [of_rank[index] for of_rank in results(models, name) if of_rank[index] is not None]
    assert len(found) == ranks // case.ulysses
    if case.dtype == "bf16":
        check_log_probs(found, models, rows, case, HALF_LOG_PROBS, torch.bfloat16)
        check_scores(found, models, rows, case, HALF_SCORES, torch.bfloat16)
        check_scores(found, models, rows, case, HALF_SCORES_OF_FLOAT32)
    else:
        check_log_probs(found, models, rows, case)
        check_scores(found, models, rows, case)


@pytest.mark.refuses(*(f"FSDP: {what}" for what in REFUSED))
def test_what_is_refused(models: Path) -> None:
    cases = [case for case, _ in REFUSED.values()]
    (errors,) = run_ranks(run_refused, 1, str(models), make_rows(0, vocab_size=70), cases, timeout=120)
    for message, (_, way_out) in zip(errors, REFUSED.values(), strict=True):
        assert way_out in message
