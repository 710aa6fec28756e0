"""How the benchmarks time, fit and count memory, against values computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from benchmarks.fit import power_law
from benchmarks.memory import highest_allocation, profiled
from benchmarks.report import size
from benchmarks.timing import interleaved, ratios, spread

CPU = torch.device("cpu")


def test_actions_run_in_turns() -> None:
    calls: list[str] = []
    seconds = interleaved({name: lambda name=name: calls.append(name) for name in "ABC"}, 2, CPU)
    assert calls == list("ABCABC")
    assert {name: len(values) for name, values in seconds.items()} == {"A": 2, "B": 2, "C": 2}
    assert all(value >= 0 for values in seconds.values() for value in values)


def test_a_spread_and_the_ratios_of_rounds() -> None:
    assert spread([3.0, 1.0, 2.0, 10.0]) == {"median": 2.5, "min": 1.0, "max": 10.0, "all": [3.0, 1.0, 2.0, 10.0]}
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]


def test_an_exact_power_law_is_found_without_error() -> None:
    law = power_law([1, 2, 4, 8], [5 * n**1.5 for n in (1, 2, 4, 8)])
    assert law.exponent == pytest.approx(1.5)
    assert law.error == pytest.approx(0.0, abs=1e-6)
    assert power_law([10, 1000], [7.0, 7.0]) == (power_law([1, 2], [1.0, 1.0]))
    assert power_law([10, 1000], [7.0, 7.0]).error is None


def test_the_error_of_an_exponent_is_that_of_least_squares() -> None:
    # log sizes −1, 0, 1 and log costs 0, 0, 1: slope 1/2, residuals 1/6, −1/3, 1/6, error √(1/6 / 1 / 2)
    law = power_law([math.exp(-1), 1.0, math.e], [1.0, 1.0, math.e])
    assert law.exponent == pytest.approx(0.5)
    assert law.error == pytest.approx(math.sqrt(1 / 12))


def memory_event(time: float, count: int, device: int = 0) -> dict[str, object]:
    return {"name": "[memory]", "ts": time, "args": {"Bytes": count, "Device Type": device, "Ev Idx": int(time)}}


def test_the_highest_allocation_is_taken_in_the_order_of_time() -> None:
    events = [
        {"name": "aten::mm", "ts": 0},
        memory_event(4, 10),
        memory_event(1, 100),
        memory_event(3, -100),
        memory_event(2, 50),
        memory_event(2.5, 1000, device=1),
    ]
    assert highest_allocation(events) == 150
    assert highest_allocation([memory_event(1, -5)]) == 0


def test_the_peak_and_the_ranges_of_a_run() -> None:
    def action() -> None:
        first = torch.ones(1000, 1000)
        with torch.profiler.record_function("nthr.something"):
            second = first + 1
        del first
        second.mul_(2)

    profile = profiled(action, CPU, ["nthr.something", "nthr.nothing"])
    assert profile.peak_memory == pytest.approx(8_000_000, abs=1000)
    assert profile.ranges["nthr.something"]["calls"] == 1
    assert profile.ranges["nthr.something"]["host_seconds"] > 0
    assert profile.ranges["nthr.nothing"] == {"host_seconds": 0.0, "device_seconds": 0.0, "calls": 0}


def test_sizes_in_words() -> None:
    assert [size(count) for count in (1, 1234, 5_000_000, 2.5e9)] == ["0.00 kB", "1.23 kB", "5.00 MB", "2.50 GB"]
