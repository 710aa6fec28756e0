"""Environment variables of a run on the CPU platform, and the time limits after which waiting becomes an error.

========================================  =========================================  =======
what waits                                set by                                     seconds
========================================  =========================================  =======
a collective, or a process group to form  ``VERL_CPU_TIMEOUT_SECONDS``               1800
a bucket of weights, or its receipt       ``VERL_CPU_TIMEOUT_SECONDS``               1800
a vLLM engine to start                    ``VLLM_ENGINE_READY_TIMEOUT_S``            600
a vLLM engine to run one batch            ``VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS``     600
a Ray worker group to register            ``trainer.ray_wait_register_center_timeout`` 300
========================================  =========================================  =======

A generation as a whole has no limit: the response length and the batch size bound it.
"""

import os
from datetime import timedelta

import psutil

TIMEOUT_VARIABLE = "VERL_CPU_TIMEOUT_SECONDS"
DEFAULT_SECONDS = "1800"


class PlatformError(RuntimeError):
    """A package or variable that the CPU platform relies on is not as it expects."""


def environment() -> dict[str, str]:
    """Return environment variables for a training run on the CPU platform.

    The plugin sets those that are missing, so only ``VERL_PLATFORM`` is needed; set ``OMP_NUM_THREADS`` before Python
    starts, because torch reads it once.

    Returns:
        * ``VERL_PLATFORM``: selects the platform; nothing here is active without it.
        * ``OMP_NUM_THREADS``: threads of torch and vLLM in each process.
        * ``VLLM_CPU_KVCACHE_SPACE``: GiB of key-value cache of each vLLM engine.
        * ``VLLM_CPU_OMP_THREADS_BIND``: no pinning; with pinning, vLLM and the trainer fight for the same cores.
        * ``VLLM_ENGINE_READY_TIMEOUT_S``, ``VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS``: the limits above.
        * ``TQ_NUM_THREADS``: TransferQueue warns at every call where this exceeds the physical cores (default 8).
        * ``TOKENIZERS_PARALLELISM``, ``RAY_USAGE_STATS_ENABLED``, ``VLLM_NO_USAGE_STATS``: no forked tokenizer
          threads, no usage reports.
    """
    cores = len(os.sched_getaffinity(0))
    return {
        "VERL_PLATFORM": "cpu",
        "OMP_NUM_THREADS": str(max(1, cores // 2)),
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENGINE_READY_TIMEOUT_S": "600",
        "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": "600",
        "TQ_NUM_THREADS": str(min(8, psutil.cpu_count(logical=False) or cores)),
        "TOKENIZERS_PARALLELISM": "false",
        "RAY_USAGE_STATS_ENABLED": "0",
        "VLLM_NO_USAGE_STATS": "1",
    }


def timeout() -> timedelta:
    """Read the limit for collectives and weight transfers.

    Raises:
        PlatformError: the variable is set, and not to a positive number of seconds.
    """
    text = os.environ.get(TIMEOUT_VARIABLE, DEFAULT_SECONDS)
    try:
        limit = timedelta(seconds=float(text))
    except (ValueError, OverflowError):
        limit = timedelta()
    if limit <= timedelta():
        raise PlatformError(f"{TIMEOUT_VARIABLE}={text!r} is not a positive number of seconds")
    return limit
