"""How often the host waits for a device."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
READS = (aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.repeat_interleave, aten._unique2)
"""What makes the host wait for a value or a size that only the device knows."""


def count_waits(action: Callable[[], object], device: str) -> int:
    """Run ``action``; on cuda torch counts, on the CPU the operations are counted that would wait on a GPU."""
    if device == "cpu":
        with _Reads() as reads:
            action()
        return reads.count
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            action()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(warning.message) for warning in caught)


class _Reads(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet = func.overloadpacket
        if packet in (aten.index, aten.index_put, aten.index_put_):
            self.count += sum(x is not None and x.dtype == torch.bool for x in args[1])
        elif packet in READS and (packet is not aten.repeat_interleave or not (kwargs or {}).get("output_size")):
            self.count += 1
        return func(*args, **(kwargs or {}))
