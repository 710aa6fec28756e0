"""Environment variables of a run on the CPU platform."""

import os

import psutil


def usable_cores() -> int:
    """Cores that this process may run on (at least 1)."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def environment() -> dict[str, str]:
    """Environment variables for a training run on the CPU platform.

    The plugin sets those that are missing, so only ``VERL_PLATFORM`` is needed; set ``OMP_NUM_THREADS`` before Python
    starts, because torch reads it once.

    Returns:
        * ``VERL_PLATFORM``: selects the platform; nothing here is active without it.
        * ``OMP_NUM_THREADS``: threads of torch and vLLM in each process.
        * ``VLLM_CPU_KVCACHE_SPACE``: GiB of key-value cache of each vLLM engine.
        * ``VLLM_CPU_OMP_THREADS_BIND``: no pinning; with pinning, vLLM and the trainer fight for the same cores.
        * ``VLLM_ENGINE_READY_TIMEOUT_S``, ``VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS``: seconds until a vLLM engine that
          does not start, or does not answer, is an error.
        * ``TQ_NUM_THREADS``: TransferQueue warns at every call where this exceeds the physical cores (default 8).
        * ``TOKENIZERS_PARALLELISM``, ``RAY_USAGE_STATS_ENABLED``, ``VLLM_NO_USAGE_STATS``: no forked tokenizer
          threads, no usage reports.
    """
    cores = usable_cores()
    physical = psutil.cpu_count(logical=False) or cores
    return {
        "VERL_PLATFORM": "cpu",
        "OMP_NUM_THREADS": str(max(1, cores // 2)),
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENGINE_READY_TIMEOUT_S": "600",
        "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": "600",
        "TQ_NUM_THREADS": str(min(8, physical)),
        "TOKENIZERS_PARALLELISM": "false",
        "RAY_USAGE_STATS_ENABLED": "0",
        "VLLM_NO_USAGE_STATS": "1",
    }
