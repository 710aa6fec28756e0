"""Rows of the support matrix that a case shows to work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.integration.passes import Case


def covers(case: Case, ranks: int = 1) -> pytest.MarkDecorator:
    """The mark of a test that runs an FSDP engine in this way."""
    rows = {
        "FSDP: FSDP1" if case.strategy == "fsdp" else "FSDP: FSDP2": True,
        "FSDP: 2 ranks": ranks >= 2,
        "FSDP: packed" if case.packed else "FSDP: padded": True,
        "FSDP: dynamic batch" if case.dynamic else "FSDP: static batch": True,
        "FSDP: tied embeddings" if case.tied else "FSDP: untied embeddings": True,
        "FSDP: Ulysses": case.ulysses > 1,
        "FSDP: fused kernels (torch)": case.fused,
        "FSDP: LoRA": bool(case.adapter),
        "FSDP: parameter and optimizer offload": case.offload,
        "FSDP: CPU offload policy": case.offload_policy,
        "FSDP: bfloat16 parameters": case.dtype == "bf16",
        "FSDP: gradient checkpointing": case.checkpointing,
        "FSDP: THR": case.length_normalised,
    }
    return pytest.mark.covers(*(row for row, shown in rows.items() if shown))


def parameters(cases: Sequence[Case]) -> list[Any]:
    """The indices of the cases, named and marked."""
    return [pytest.param(index, id=str(case), marks=covers(case)) for index, case in enumerate(cases)]
