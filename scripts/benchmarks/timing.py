"""Interleaved timing: what is compared runs in turns, so that a machine that slows down slows all of it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch


def interleaved(
    actions: Mapping[str, Callable[[], object]], rounds: int, device: torch.device
) -> dict[str, list[float]]:
    """Seconds of each action in each round, A B C A B C …; none is a warm-up.

    Args:
        actions: what to time, by name, in the order of a round.
        rounds: how often each runs.
        device: whose queue is empty when a clock is read.
    """
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            seconds[name].append(timed(action, device))
    return seconds


def timed(action: Callable[[], object], device: torch.device) -> float:
    """Seconds that ``action`` takes until ``device`` is done with it."""
    synchronise(device)
    start = time.perf_counter()
    action()
    synchronise(device)
    return time.perf_counter() - start


def synchronise(device: torch.device) -> None:
    """Wait until ``device`` has nothing left to do; a CPU never has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def spread(values: Sequence[float]) -> dict[str, float | list[float]]:
    """Median, smallest, largest and all values."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "all": list(values)}


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """The ratio of each round: a round's slowness cancels."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]
