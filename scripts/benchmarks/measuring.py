"""Timing in turns, power laws, peak memory, profiler ranges, and processes with the bytes they give to collectives."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.distributed as dist
from scipy import stats
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile


def interleaved(actions: Mapping[str, Callable[[], object]], rounds: int, device: str) -> dict[str, list[float]]:
    """Seconds of each action in each round, A B C A B C …, so that a slow machine slows all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            seconds[name].append(timed(action, device))
    return seconds


def timed(action: Callable[[], object], device: str) -> float:
    """Seconds until ``device`` has finished ``action``."""
    synchronise(device)
    start = time.perf_counter()
    action()
    synchronise(device)
    return time.perf_counter() - start


def synchronise(device: str) -> None:
    """Wait for a GPU to finish its work."""
    if device == "cuda":
        torch.cuda.synchronize()


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, smallest, largest and all values."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "all": list(values)}


def power_law(sizes: Sequence[float], costs: Sequence[float]) -> tuple[float, float]:
    """Exponent of cost ∝ size^exponent, by least squares on the logarithms, and its standard error."""
    fit = stats.linregress(np.log(sizes), np.log(costs))
    return float(fit.slope), float(fit.stderr)


def profiled(action: Callable[[], object], device: str) -> tuple[int, dict[str, dict[str, float]]]:
    """Run ``action`` once under torch's profiler.

    Returns:
        Peak memory in bytes over what was held before: ``max_memory_allocated`` on a GPU, torch's own allocations on
        the CPU. By name of each range ``nthr.*``: ``host_seconds``, ``device_seconds`` and ``calls``.
    """
    on_gpu = device == "cuda"
    held = 0
    if on_gpu:
        synchronise(device)
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities, profile_memory=not on_gpu, acc_events=True) as profiler:
        action()
        synchronise(device)
    ranges = {
        item.key: {
            "host_seconds": item.cpu_time_total / 1e6,
            "device_seconds": item.device_time_total / 1e6,
            "calls": item.count,
        }
        for item in profiler.key_averages()
        if item.key.startswith("nthr.") and item.device_type == DeviceType.CPU
    }
    if on_gpu:
        return torch.cuda.max_memory_allocated() - held, ranges
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        return highest_allocation(json.loads(trace.read_bytes())["traceEvents"]), ranges


def highest_allocation(events: Sequence[Mapping[str, Any]]) -> int:
    """Highest running sum of the bytes allocated on the CPU, from the ``[memory]`` events of a trace in any order."""
    memory = [event for event in events if event.get("name") == "[memory]" and event["args"]["Device Type"] == 0]
    memory.sort(key=lambda event: (event["ts"], event["args"]["Ev Idx"]))
    return max(accumulate((event["args"]["Bytes"] for event in memory), initial=0))


@contextmanager
def counted_collectives() -> Iterator[Counter[str]]:
    """Bytes of the tensors that this rank gives to ``all_reduce`` and ``all_gather`` meanwhile."""
    count: Counter[str] = Counter(all_reduce=0, all_gather=0)

    def counting(name: str, place: int) -> Any:
        original = getattr(dist, name)

        def collective(*args: Any, **kwargs: Any) -> Any:
            count[name] += args[place].nbytes
            return original(*args, **kwargs)

        return mock.patch.object(dist, name, collective)

    with counting("all_reduce", 0), counting("all_gather", 1):
        yield count


def on_ranks(function: Callable[..., Any], ranks: int, *args: Any) -> list[Any]:
    """Results, as JSON, of ``function(rank, *args)`` on each rank of a gloo group of new processes of one thread each.

    Raises:
        torch.multiprocessing.ProcessRaisedException: a rank failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_on_rank, (function, ranks, folder, args), nprocs=ranks)
        return [json.loads(Path(folder, f"{rank}.json").read_bytes()) for rank in range(ranks)]


def _on_rank(rank: int, function: Callable[..., Any], ranks: int, folder: str, args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=ranks)
    Path(folder, f"{rank}.json").write_text(json.dumps(function(rank, *args)))
    dist.destroy_process_group()
