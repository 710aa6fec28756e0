"""Start of Ray on a machine without a GPU: logical GPUs and CPUs, and a reaper."""

import os
from typing import Any

from verl_nthr.cpu import shm_reaper
from verl_nthr.cpu.environment import usable_cores

LOGICAL_GPUS = 8
LOGICAL_CPUS = 48


def starts_cluster(address: str | None, temp_dir: str | None) -> bool:
    """Tell whether ``ray.init`` with these arguments starts a Ray of its own (which alone takes resource counts)."""
    from ray._private.services import find_bootstrap_address

    if address == "local":
        return True
    if address is not None or os.environ.get("RAY_ADDRESS"):
        return False
    return find_bootstrap_address(temp_dir) is None


def around_init(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around ``ray.init`` (ray 2.60.0): give the counts that verl's default of 8 GPUs needs.

    verl places each training process on one GPU and three CPUs, starts some more small actors, and refuses to start
    if Ray has no GPUs. The counts are logical: they limit only placement. Counts that are given are kept.
    :mod:`verl_nthr.cpu.shm_reaper` outlives the process.
    """
    address = args[0] if args else kwargs.get("address")
    if starts_cluster(address, kwargs.get("_temp_dir")):
        shm_reaper.start()
        if kwargs.get("num_gpus") is None:
            kwargs["num_gpus"] = LOGICAL_GPUS
        if kwargs.get("num_cpus") is None:
            kwargs["num_cpus"] = max(LOGICAL_CPUS, usable_cores())
    return wrapped(*args, **kwargs)
