"""One run under torch's profiler: peak memory, and the time in named ranges."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.timing import synchronise

MEASURED_BY = {
    "cpu": "what torch's allocator had handed out and not got back, at its highest, over what the run began with",
    "cuda": "torch.cuda.max_memory_allocated, over what the run began with",
}


@dataclass(frozen=True)
class Profile:
    """What one run needed."""

    peak_memory: int
    """Bytes over what was held before; see :data:`MEASURED_BY`."""

    ranges: dict[str, dict[str, float]]
    """By name of a ``record_function`` range: ``host_seconds``, ``device_seconds`` of its kernels, ``calls``."""


def profiled(action: Callable[[], object], device: torch.device, ranges: Sequence[str] = ()) -> Profile:
    """Run ``action`` once under the profiler.

    Args:
        action: what to run.
        device: whose memory is counted.
        ranges: names of ranges whose time is wanted.
    """
    on_cuda = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_cuda else [])]
    held = 0
    if on_cuda:
        synchronise(device)
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device)
    with profile(activities=activities, profile_memory=not on_cuda, acc_events=True) as profiler:
        action()
        synchronise(device)
    if on_cuda:
        peak = torch.cuda.max_memory_allocated(device) - held
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trace.json"
            profiler.export_chrome_trace(str(path))
            peak = highest_allocation(json.loads(path.read_bytes())["traceEvents"])
    return Profile(peak, {name: _time_in(profiler, name) for name in ranges})


def highest_allocation(events: Sequence[Mapping[str, Any]]) -> int:
    """The highest sum of bytes allocated on the CPU so far, of the ``[memory]`` events of a trace in any order."""
    memory = [event for event in events if event.get("name") == "[memory]" and event["args"]["Device Type"] == 0]
    memory.sort(key=lambda event: (event["ts"], event["args"]["Ev Idx"]))
    return max(accumulate((event["args"]["Bytes"] for event in memory), initial=0))


def _time_in(profiler: profile, name: str) -> dict[str, float]:
    found = [item for item in profiler.key_averages() if item.key == name and item.device_type == DeviceType.CPU]
    return {
        "host_seconds": sum(item.cpu_time_total for item in found) / 1e6,
        "device_seconds": sum(item.device_time_total for item in found) / 1e6,
        "calls": sum(item.count for item in found),
    }
