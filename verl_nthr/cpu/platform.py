"""verl's platform interface (``verl.plugin.platform.PlatformBase``, verl 0.9.1) for the CPU."""

import resource
from contextlib import nullcontext
from types import ModuleType
from typing import Any

import psutil
import torch
from verl.plugin.platform.platform_base import PlatformBase


class CPUDeviceId(str):
    """verl's ``get_device_id()`` on the CPU.

    verl uses it in two ways: as ``tensor.to(get_device_id())``, where an index would mean an accelerator, and as
    ``f"{get_device_name()}:{get_device_id()}"``. So it is the string "cpu", which formats as "0".
    """

    def __format__(self, spec: str) -> str:
        return format(0, spec)

    def __int__(self) -> int:
        return 0


def _do_nothing(*_: Any, **__: Any) -> None:
    """Stand for a call that has nothing to do on the CPU."""


def _resident_bytes(device: Any = None) -> int:
    return psutil.Process().memory_info().rss


def _peak_resident_bytes(device: Any = None) -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class CPUDeviceModule(ModuleType):
    """``torch.cpu`` with the further calls that verl makes on ``torch.cuda``; memory is the process's resident memory.

    The peak of the memory is that of the whole process, because the operating system does not reset it.
    """

    empty_cache = ipc_collect = staticmethod(_do_nothing)
    reset_peak_memory_stats = set_per_process_memory_fraction = staticmethod(_do_nothing)
    memory_allocated = memory_reserved = staticmethod(_resident_bytes)
    max_memory_allocated = max_memory_reserved = staticmethod(_peak_resident_bytes)
    manual_seed = manual_seed_all = staticmethod(torch.manual_seed)
    set_rng_state = staticmethod(torch.set_rng_state)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch.cpu, name)

    @staticmethod
    def get_rng_state(device: Any = None) -> torch.Tensor:
        return torch.get_rng_state()

    @staticmethod
    def get_device_name(device: Any = None) -> str:
        return "CPU"

    @staticmethod
    def current_device() -> int:
        return 0

    @staticmethod
    def mem_get_info(device: Any = None) -> tuple[int, int]:
        memory = psutil.virtual_memory()
        return memory.available, memory.total

    @staticmethod
    def device(index: Any) -> nullcontext[None]:
        return nullcontext()


CPU_DEVICE = CPUDeviceModule("verl_cpu_device")


class PlatformCPU(PlatformBase):
    """The CPU as verl's device, chosen by ``VERL_PLATFORM=cpu`` only.

    Ray schedules *logical* GPUs, one per training process, because verl counts only GPUs and NPUs when it checks the
    size of its resource pool. Weights go to the rollout through shared memory, as the CPU has no device handles.
    """

    device_name = "cpu"
    vendor_name = "generic"
    device_module = CPU_DEVICE

    set_device = synchronize = empty_cache = set_allocator_settings = staticmethod(_do_nothing)
    profiler_start = profiler_stop = cudart = staticmethod(_do_nothing)
    manual_seed = manual_seed_all = staticmethod(torch.manual_seed)

    def is_available(self) -> bool:
        return True

    def is_platform_available(self, use_smi_check: bool = False) -> bool:
        """Hide from detection: every machine has a CPU, and few people want to train on it by accident."""
        return False

    def current_device(self) -> CPUDeviceId:
        return CPUDeviceId("cpu")

    def device_count(self) -> int:
        return 1

    def get_device_capability(self, device_index: int = 0) -> tuple[int | None, int | None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CUDA_VISIBLE_DEVICES"

    def nvtx_range(self, msg: str) -> nullcontext[None]:
        return nullcontext()

    def ray_resource_name(self) -> str:
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        return []

    def is_ipc_supported(self) -> bool:
        return False
