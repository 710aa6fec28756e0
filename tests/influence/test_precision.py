"""TF32 is for half precision on a GPU, and leaves nothing behind."""

from __future__ import annotations

import contextlib

import pytest
import torch

from verl_nthr.influence.precision import tf32_for_half_precision


@pytest.mark.parametrize(
    ("dtype", "device", "inside"),
    [
        (torch.bfloat16, "cuda", "high"),
        (torch.float16, "cuda", "high"),
        (torch.float32, "cuda", "highest"),
        (torch.bfloat16, "cpu", "highest"),
    ],
)
def test_the_precision_inside_and_afterwards(dtype: torch.dtype, device: str, inside: str) -> None:
    assert torch.get_float32_matmul_precision() == "highest"
    hidden = torch.zeros(1, dtype=dtype)
    with contextlib.suppress(KeyError), tf32_for_half_precision(hidden, torch.device(device)):
        assert torch.get_float32_matmul_precision() == inside
        raise KeyError
    assert torch.get_float32_matmul_precision() == "highest"
