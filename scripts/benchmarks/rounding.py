"""Matrix products of operands with fewer mantissa bits, summed in float32, as tensor cores compute them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.report import BenchmarkError

aten = torch.ops.aten
MANTISSA_BITS = {"float32": 23, "tf32": 10, "bf16": 7}
PRODUCTS = (aten.mm, aten.bmm)
SUMS = (aten.addmm, aten.baddbmm)
SUMS_IN_PLACE = (aten.addmm_, aten.baddbmm_)


@contextmanager
def products_in(precision: str, device: str) -> Iterator[None]:
    """Take float32 matrix products in ``precision``, a key of :data:`MANTISSA_BITS`: on cuda natively, else emulated.

    Raises:
        BenchmarkError: no product was made that this could change.
    """
    if precision == "float32":
        yield
        return
    before = torch.get_float32_matmul_precision()
    native_tf32 = device == "cuda" and precision == "tf32"
    mode = None if native_tf32 else RoundedProducts(precision, native=device == "cuda")
    if native_tf32:
        torch.set_float32_matmul_precision("high")
    try:
        with mode or nullcontext():
            yield
    finally:
        torch.set_float32_matmul_precision(before)
    if mode is not None and not mode.products:
        raise BenchmarkError(f"no product was made in {precision}; benchmarks/rounding.py must learn the maths' ops")


class RoundedProducts(TorchDispatchMode):
    """Rounds the operands of float32 matrix products."""

    def __init__(self, precision: str, *, native: bool) -> None:
        """Round to ``precision``; ``native`` uses the device's bfloat16 products with float32 results."""
        super().__init__()
        self.products = 0
        self._bits, self._native = MANTISSA_BITS[precision], native

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet, kwargs = func.overloadpacket, kwargs or {}
        if packet in PRODUCTS and args[0].dtype == torch.float32:
            return self._product(*args)
        if packet in SUMS + SUMS_IN_PLACE and args[0].dtype == torch.float32:
            total = kwargs.get("beta", 1) * args[0] + kwargs.get("alpha", 1) * self._product(*args[1:])
            return args[0].copy_(total) if packet in SUMS_IN_PLACE else total
        return func(*args, **kwargs)

    def _product(self, left: Tensor, right: Tensor) -> Tensor:
        self.products += 1
        if self._native:
            product = aten.mm.dtype if left.dim() == 2 else aten.bmm.dtype
            return product(left.bfloat16(), right.bfloat16(), torch.float32)
        return torch.matmul(rounded(left, self._bits), rounded(right, self._bits))


def rounded(tensor: Tensor, bits: int) -> Tensor:
    """Finite float32 values to the nearest with ``bits`` stored mantissa bits, ties to even."""
    dropped = 23 - bits
    if not dropped:
        return tensor
    pattern = tensor.contiguous().view(torch.int32)
    half = (1 << (dropped - 1)) - 1 + ((pattern >> dropped) & 1)
    return ((pattern + half) & -(1 << dropped)).view(torch.float32)
