"""What a process holds."""

from __future__ import annotations

import functools
import gc
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

SHARED_MEMORY = "/dev/shm/"


@dataclass(frozen=True)
class State:
    """After a step."""

    seconds: float
    """Of the step."""

    rss: int
    """Bytes of resident memory."""

    tensors: int
    """That the garbage collector tracks."""

    hooks: int
    """On all modules of the model."""

    replaced: int
    """Attributes of the engine object that stand in for methods of its class."""

    wrappers: int
    """Layers around verl's methods that this package wraps."""

    cached: int
    """Entries of this package's caches and module-level containers."""

    open_files: int
    threads: int

    shared_memory: int
    """Files of ``/dev/shm`` that are mapped."""

    temporary_files: int
    """Below the folder for temporary files, which the process has for itself."""


COUNTS = tuple(name for name in State.__dataclass_fields__ if name not in ("seconds", "rss"))


def state_of(engine: Any, seconds: float, temporary: Path) -> State:
    """The state of this process, whose garbage is collected first."""
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer

    gc.collect()
    process = psutil.Process()
    wrapped = (type(engine).infer_batch, PPOTrainer._compute_old_log_prob, PPOTrainer._compute_advantage)
    return State(
        seconds=seconds,
        rss=process.memory_info().rss,
        tensors=sum(issubclass(type(held), torch.Tensor) for held in gc.get_objects()),
        hooks=sum(map(_hooks, engine.module.modules())),
        replaced=sum(
            callable(value) and callable(getattr(type(engine), name, None)) for name, value in vars(engine).items()
        ),
        wrappers=sum(map(_layers, wrapped)),
        cached=sum(_entries()),
        open_files=process.num_fds(),
        threads=process.num_threads(),
        shared_memory=sum(mapped.path.startswith(SHARED_MEMORY) for mapped in process.memory_maps()),
        temporary_files=sum(path.is_file() for path in temporary.rglob("*")),
    )


def _hooks(module: torch.nn.Module) -> int:
    return sum(len(value) for name, value in vars(module).items() if name.endswith("_hooks"))


def _layers(function: Any) -> int:
    layers = 0
    while (inner := inspect.getattr_static(function, "__wrapped__", None)) is not None:
        function, layers = inner, layers + 1
    return layers


def _entries() -> Iterator[int]:
    for name, module in sys.modules.copy().items():
        if name.split(".")[0] != "verl_nthr":
            continue
        for attribute, value in vars(module).items():
            if attribute.startswith("__"):
                continue
            if isinstance(value, functools._lru_cache_wrapper):
                yield value.cache_info().currsize
            elif type(value) in (dict, list, set):
                yield len(value)
