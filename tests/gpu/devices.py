"""Each test here runs on a GPU, and on the CPU among the slow tests."""

from __future__ import annotations

from typing import Any

import pytest
import torch

DEVICES: list[Any] = [
    pytest.param("cpu", marks=pytest.mark.slow),
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: torch sees no CUDA device"),
        ],
    ),
]
"""Parameters of a test."""

BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
"""Of ``torch.distributed``, by device."""
