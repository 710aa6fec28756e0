"""Device of the CPU platform: its index, and ``torch.cpu`` with the calls that verl makes on ``torch.cuda``."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import psutil
import torch


class CPUDeviceId(str):
    """verl's ``get_device_id()`` on the CPU.

    verl uses it in two ways: as ``tensor.to(get_device_id())``, where an index would mean an accelerator, and as
    ``f"{get_device_name()}:{get_device_id()}"``. So it is the string "cpu", which formats as "0".
    """

    def __format__(self, spec: str) -> str:
        return format(0, spec)

    def __int__(self) -> int:
        return 0


class CPUDeviceModule(ModuleType):
    """Answers for one device, the machine; memory is the process's resident memory.

    Other names come from ``torch.cpu``, or raise AttributeError.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(torch.cpu, name)

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def device_count() -> int:
        return 1

    @staticmethod
    def current_device() -> int:
        return 0

    @staticmethod
    def set_device(device: Any) -> None:
        """Do nothing: the CPU is the only device."""

    @staticmethod
    def get_device_name(device: Any = None) -> str:
        return "CPU"

    @staticmethod
    def synchronize(device: Any = None) -> None:
        """Do nothing: operations on the CPU are done when they return."""

    @staticmethod
    def empty_cache() -> None:
        """Do nothing: torch keeps no cache of host memory."""

    @staticmethod
    def ipc_collect() -> None:
        """Do nothing: the CPU has no device handles."""

    @staticmethod
    def manual_seed(seed: int) -> None:
        torch.manual_seed(seed)

    @staticmethod
    def manual_seed_all(seed: int) -> None:
        torch.manual_seed(seed)

    @staticmethod
    def get_rng_state(device: Any = None) -> torch.Tensor:
        return torch.get_rng_state()

    @staticmethod
    def set_rng_state(state: torch.Tensor, device: Any = None) -> None:
        torch.set_rng_state(state)

    @staticmethod
    def memory_allocated(device: Any = None) -> int:
        return psutil.Process().memory_info().rss

    @staticmethod
    def memory_reserved(device: Any = None) -> int:
        return psutil.Process().memory_info().rss

    @staticmethod
    def max_memory_allocated(device: Any = None) -> int:
        return _peak_rss()

    @staticmethod
    def max_memory_reserved(device: Any = None) -> int:
        return _peak_rss()

    @staticmethod
    def reset_peak_memory_stats(device: Any = None) -> None:
        """Do nothing: the operating system keeps the peak of the whole process."""

    @staticmethod
    def set_per_process_memory_fraction(fraction: float, device: Any = None) -> None:
        """Do nothing: the operating system hands out memory."""

    @staticmethod
    def mem_get_info(device: Any = None) -> tuple[int, int]:
        memory = psutil.virtual_memory()
        return memory.available, memory.total

    @staticmethod
    @contextmanager
    def device(index: Any) -> Iterator[None]:
        yield


def _peak_rss() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


CPU_DEVICE = CPUDeviceModule("verl_cpu_device", "One device: the machine's processor.")
