"""Argument checks of the maths floor."""

from __future__ import annotations

import torch
from torch import Tensor

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64)
Kind = tuple[torch.dtype, ...]
NAMES = {FLOATS: "a float", INTEGERS: "an integer"}
MOST_GROUPS = 1 << 20
"""Groups have memory whether they have responses or not."""


def check_tokens(
    hidden: Tensor,
    token_ids: Tensor,
    log_probs: Tensor | None,
    response: Tensor,
    group: Tensor,
    correct: Tensor,
    unembedding: Tensor,
    bias: Tensor | None,
) -> None:
    """Check the tensors of :func:`verl_nthr.nthr_weights` against each other.

    Raises:
        ValueError: a shape or dtype is off.
        IndexError: an index is out of range.
    """
    if hidden.dim() != 2 or hidden.dtype not in FLOATS:
        raise ValueError(f"hidden must be [T, D] of a float dtype, got {_describe(hidden)}")
    if unembedding.dim() != 2 or unembedding.dtype not in FLOATS or unembedding.shape[1] != hidden.shape[1]:
        raise ValueError(f"unembedding must be [V, {hidden.shape[1]}] of a float dtype, got {_describe(unembedding)}")
    tokens, responses, vocab_size = hidden.shape[0], group.shape[0] if group.dim() else 0, unembedding.shape[0]
    _check_vector("token_ids", token_ids, tokens, "T", INTEGERS)
    _check_vector("response", response, tokens, "T", INTEGERS)
    _check_vector("group", group, responses, "R", INTEGERS)
    _check_vector("correct", correct, responses, "R")
    if correct.dtype != torch.bool:
        raise ValueError(f"correct must be bool, got {correct.dtype}; compare the rewards with a threshold first")
    if log_probs is not None:
        _check_vector("log_probs", log_probs, tokens, "T", FLOATS)
    if bias is not None:
        _check_vector("bias", bias, vocab_size, "V", FLOATS)
    _check_range("token_ids", token_ids, 0, vocab_size)
    _check_range("response", response, 0, responses)
    _check_range("group", group, -1, MOST_GROUPS)


def temperature_of_tokens(temperature: float | Tensor, response: Tensor, responses: int) -> Tensor:
    """[T] float32 from one temperature, or from one for each response [R].

    Raises:
        ValueError: wrong shape, or a temperature that is not positive and finite.
    """
    try:
        values = torch.as_tensor(temperature, dtype=torch.float32, device=response.device)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"temperature must be a number or a tensor of numbers, got {temperature!r}") from error
    if values.dim() == 0:
        values = values.expand(responses)
    if values.shape != (responses,):
        raise ValueError(f"temperature must be a number or [R] = [{responses}], got shape {list(values.shape)}")
    if not bool(((values > 0) & values.isfinite()).all()):
        raise ValueError(f"temperature must be positive and finite, got {temperature!r}")
    return values[response]


def _check_vector(name: str, tensor: Tensor, size: int, axis: str, kind: Kind | None = None) -> None:
    if tensor.dim() != 1 or tensor.shape[0] != size:
        raise ValueError(f"{name} must be [{axis}] = [{size}], got {_describe(tensor)}")
    if kind is not None and tensor.dtype not in kind:
        raise ValueError(f"{name} must be of {NAMES[kind]} dtype, got {tensor.dtype}")


def _check_range(name: str, tensor: Tensor, low: int, high: int) -> None:
    if not tensor.numel():
        return
    smallest, largest = map(int, tensor.long().aminmax())
    if smallest < low or largest >= high:
        raise IndexError(f"{name} must be at least {low} and below {high}, got values from {smallest} to {largest}")


def _describe(tensor: Tensor) -> str:
    return f"{list(tensor.shape)} of {tensor.dtype}"
