"""Tensors that are right, and such as no caller should pass."""

from __future__ import annotations

import math

import torch
from hypothesis import strategies as st
from torch import Tensor

SPECIAL = (0.0, 1.0, -1.0, 0.5, math.nan, math.inf, -math.inf, 1e-45, 1e-20, 3e38, -3e38)
INDICES = (-(2**63), -2, -1, 0, 1, 2, 5, 2**20, 2**31, 2**40, 2**62)
DTYPES = (
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.complex64, torch.bool),
    *(torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64),
)
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64)

numbers = st.sampled_from(
    (*SPECIAL, 2, -3, True, None, "x", "balanced", "p", "1-p", "", 10**400, -(10**400), [], {}, (1,), "\ud800")
)
"""Values of an option."""


def _filled(shape: list[int], dtype: torch.dtype, value: float) -> Tensor:
    return torch.full(shape, value).to(dtype)


def _index(shape: list[int], values: list[int]) -> Tensor:
    size = math.prod(shape)
    return torch.tensor((values * (size + 1))[:size], dtype=torch.int64).reshape(shape)


shapes = st.lists(st.integers(0, 4), max_size=3)
odd_tensors = st.one_of(
    st.builds(_filled, shapes, st.sampled_from(DTYPES), st.sampled_from(SPECIAL)),
    st.builds(_index, shapes, st.lists(st.sampled_from(INDICES), min_size=1, max_size=3)),
)
"""Of any small shape and of any dtype."""


def values(shape: tuple[int, ...], seed: int, scale: float, special: list[tuple[int, float]]) -> Tensor:
    """Normal numbers, some of them replaced: float64 of ``shape``."""
    tensor = scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    flat = tensor.flatten()
    for place, value in special if flat.numel() else ():
        flat[place % flat.numel()] = value
    return flat.reshape(shape)


seeds = st.integers(0, 2**16)
scales = st.sampled_from((1.0, 1.0, 0.0, 1e-20, 100.0, 1e20))
specials = st.lists(st.tuples(st.integers(0, 99), st.sampled_from(SPECIAL)), max_size=2)
