"""verl's platform interface (``verl.plugin.platform.PlatformBase``, verl 0.9.1) for the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from verl.plugin.platform.platform_base import PlatformBase

from verl_nthr.cpu.device import CPU_DEVICE, CPUDeviceId


class PlatformCPU(PlatformBase):
    """The CPU as verl's device, chosen by ``VERL_PLATFORM=cpu`` only.

    Ray schedules *logical* GPUs, one per training process, because verl counts only GPUs and NPUs when it checks the
    size of its resource pool. Weights go to the rollout through shared memory, as the CPU has no device handles.
    """

    @property
    def device_name(self) -> str:
        return "cpu"

    @property
    def vendor_name(self) -> str:
        return "generic"

    @property
    def device_module(self) -> ModuleType:
        return CPU_DEVICE

    def is_available(self) -> bool:
        return True

    def is_platform_available(self, use_smi_check: bool = False) -> bool:
        """Hide from detection: every machine has a CPU, and few people want to train on it by accident."""
        return False

    def current_device(self) -> CPUDeviceId:
        return CPUDeviceId("cpu")

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: int) -> None:
        """Do nothing: the CPU is the only device."""

    def synchronize(self, device_index: int | None = None) -> None:
        """Do nothing: operations on the CPU are done when they return."""

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None:
        """Do nothing: host memory has no caching allocator."""

    def empty_cache(self) -> None:
        """Do nothing: torch keeps no cache of host memory."""

    def get_device_capability(self, device_index: int = 0) -> tuple[int | None, int | None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CUDA_VISIBLE_DEVICES"

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        yield

    def profiler_start(self) -> None:
        """Do nothing: the CPU needs no device profiler."""

    def profiler_stop(self) -> None:
        """Do nothing: the CPU needs no device profiler."""

    def ray_resource_name(self) -> str:
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        return []

    def is_ipc_supported(self) -> bool:
        return False

    def rollout_env_vars(self) -> dict[str, str]:
        return {}

    def cudart(self) -> Any:
        return None
