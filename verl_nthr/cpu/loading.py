"""Loads the CPU platform into a process."""

import logging
import os
from types import ModuleType

from verl_nthr.cpu import distributed, engines, fsdp, metadata, models, ray, replay, shared_memory, vllm, weights
from verl_nthr.cpu.environment import environment
from verl_nthr.cpu.patches import Patch, PlatformError, check, install

logger = logging.getLogger(__name__)


def register_platform(module: ModuleType) -> None:
    """Register the platform with ``verl.plugin.platform.platform_manager`` (verl 0.9.1) under the name "cpu"."""
    from verl_nthr.cpu.platform import PlatformCPU

    module.PlatformRegistry.register(platform="cpu")(PlatformCPU)


def platform_registered(module: ModuleType) -> bool:
    """Whether verl finds our platform under the name "cpu"."""
    from verl_nthr.cpu.platform import PlatformCPU

    return module.PlatformRegistry.get("cpu") is PlatformCPU


PATCHES: tuple[Patch, ...] = (
    Patch(
        name="verl PlatformRegistry: cpu",
        module="verl.plugin.platform.platform_manager",
        apply=register_platform,
        in_place=platform_registered,
    ),
    *metadata.PATCHES,
    *distributed.PATCHES,
    *fsdp.PATCHES,
    *models.PATCHES,
    *engines.PATCHES,
    *ray.PATCHES,
    *replay.PATCHES,
    *weights.PATCHES,
    *vllm.PATCHES,
    *shared_memory.PATCHES,
)


def load() -> None:
    """Set the environment variables that are missing, and install every patch.

    Raises:
        PlatformError: a module that is already imported is not what a patch expects. verl hides errors of plugins,
            so it is logged first.
    """
    for name, value in environment().items():
        os.environ.setdefault(name, value)
    try:
        shared_memory.open_session()
        install(PATCHES)
    except PlatformError as error:
        logger.error("the CPU platform cannot be loaded: %s", error)
        raise


def status() -> dict[str, bool]:
    """Whether each patch is in place in this process; imports the modules concerned."""
    return check(PATCHES)
