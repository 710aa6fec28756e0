"""A soak on one rank, and what it says of the run."""

from __future__ import annotations

import gc
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from soaking.state import COUNTS, State, state_of
from soaking.step import Soak
from soaking.trend import count_is_flat, fit_line, memory_is_flat

REPORTS = 10

ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""Environment in which glibc gives every block from 64 KiB back when it is freed: resident memory is what is held."""


def run_soak(rank: int, ranks: int, steps: int, dump_every: int, folder: str) -> list[dict[str, Any]]:
    """The state of this rank after every step, in plain numbers.

    Args:
        rank: of this process, in an initialised gloo group, started with :data:`ALLOCATOR`.
        ranks: number of them.
        steps: how many.
        dump_every: steps from one token dump of the first rank to the next.
        folder: gets ``dumps``, and ``temporary<rank>`` for this process's temporary files.
    """
    temporary = Path(folder) / f"temporary{rank}"
    temporary.mkdir()
    os.environ.update(VERL_PLATFORM="cpu", RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_RANK=str(rank))
    tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
    soak, dumps, states = Soak(rank, ranks), Path(folder) / "dumps", []
    # what is there before the first step need not be looked through after every step
    gc.freeze()
    for step in range(1, steps + 1):
        start = time.perf_counter()
        soak.step(step, dumps if rank == 0 and step % dump_every == 0 else None)
        states.append(state_of(soak.engine, time.perf_counter() - start, temporary))
        if rank == 0 and step % max(1, steps // REPORTS) == 0:
            print(row_of(step, states[-1]), flush=True)
    return [asdict(state) for state in states]


def heading() -> str:
    """Above the lines of :func:`row_of`."""
    return "".join(f"{name.replace('_', ' '):>17}" for name in ("step", "rss MB", "ms a step", *COUNTS))


def row_of(step: int, state: State) -> str:
    """One line of the table."""
    counts = (getattr(state, name) for name in COUNTS)
    return "".join(f"{value:>17}" for value in (step, f"{state.rss / 1e6:.1f}", f"{1e3 * state.seconds:.0f}", *counts))


def verdict(states: Sequence[dict[str, Any]], warm_up: int) -> dict[str, Any]:
    """What grew on a rank after its first ``warm_up`` steps: a trend of memory and time, and every count."""
    kept = states[warm_up:]
    memory = fit_line([state["rss"] for state in kept])
    seconds = fit_line([state["seconds"] for state in kept])
    found: dict[str, Any] = {
        "rss": {
            "first": kept[0]["rss"],
            "last": kept[-1]["rss"],
            "slope": memory.slope,
            "error": memory.error,
            "flat": memory_is_flat(memory),
        },
        "seconds": {
            "mean": sum(state["seconds"] for state in kept) / len(kept),
            "slope": seconds.slope,
            "error": seconds.error,
            "flat": seconds.slope < 2 * seconds.error,
        },
    }
    for name in COUNTS:
        counts = [state[name] for state in kept]
        found[name] = {
            "first": counts[0],
            "last": counts[-1],
            "largest": max(counts),
            "flat": count_is_flat(counts),
        }
    return found
