"""Precision of the matrix products and of the reduction of scoring."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

HALF = (torch.bfloat16, torch.float16)


def reduction_dtype(hidden: Tensor) -> torch.dtype:
    """Dtype in which ranks exchange M⁺: bfloat16 if hidden states are of half precision, else float32.

    bfloat16 has float32's range at half its bytes. Its rounding changes scores by a tenth of what the rounding of such
    a model's own logits does (``scripts/bench_accuracy.py`` measures both).
    """
    return torch.bfloat16 if hidden.dtype in HALF else torch.float32


@contextmanager
def tf32_for_half_precision(hidden: Tensor, device: torch.device) -> Iterator[None]:
    """Take TF32 for float32 products on ``device`` while the context is open, if hidden states are of half precision.

    bfloat16 and float16 fit into TF32's 8 exponent and 10 mantissa bits, so that the logits of such a model lose
    nothing; prediction errors and M⁺ are rounded to them, which changes a score by far less than the rounding of the
    model's own states (``scripts/bench_accuracy.py`` measures it). Hidden states of float32 keep torch's setting.
    """
    if device.type != "cuda" or hidden.dtype not in HALF:
        yield
        return
    previous = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(previous)
