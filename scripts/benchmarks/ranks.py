"""One step of scoring on several gloo ranks of this machine, with the bytes that it hands to collectives."""

from __future__ import annotations

import multiprocessing
import queue
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor

from benchmarks.errors import BenchmarkError
from benchmarks.synthetic import Size, make_input
from benchmarks.timing import timed
from verl_nthr.influence.sharding import Sharding

LIMIT_SECONDS = 240.0


@dataclass
class Traffic:
    """Bytes of the tensors that this rank gave to collectives; a ring moves 2·(n − 1)/n times as many for a sum."""

    summed: int = 0
    """To ``all_reduce``."""

    gathered: int = 0
    """To ``all_gather``, whose results are n times as large."""


@contextmanager
def counted() -> Iterator[Traffic]:
    """Count while the context is open, by wrapping ``torch.distributed``'s functions."""
    traffic = Traffic()
    all_reduce, all_gather = dist.all_reduce, dist.all_gather

    def count_sum(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        traffic.summed += tensor.nbytes
        return all_reduce(tensor, *args, **kwargs)

    def count_gather(tensors: list[Tensor], tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        traffic.gathered += tensor.nbytes
        return all_gather(tensors, tensor, *args, **kwargs)

    with mock.patch.object(dist, "all_reduce", count_sum), mock.patch.object(dist, "all_gather", count_gather):
        yield traffic


def measure_ranks(size: Size, ranks: int, repeats: int) -> dict[str, Any]:
    """A step of a batch whose groups are all spread over ``ranks`` processes of one thread each.

    Returns:
        Of the rank with the most: ``summed_bytes``, ``gathered_bytes``, and the lowest ``seconds`` of a step.

    Raises:
        BenchmarkError: a rank failed, or they did not finish in time.
    """
    results = run_on_ranks(_rank, ranks, (size, repeats), LIMIT_SECONDS)
    return {name: max(result[name] for result in results) for name in results[0]}


def _rank(rank: int, ranks: int, size: Size, repeats: int) -> dict[str, Any]:
    mine = make_input(size, torch.device("cpu")).part(rank, ranks)

    def step() -> None:
        mine.score(Sharding(dist.group.WORLD))

    with counted() as traffic:
        step()
    seconds = []
    for _ in range(repeats):
        dist.barrier()
        seconds.append(timed(step, torch.device("cpu")))
    return {
        "summed_bytes": traffic.summed,
        "gathered_bytes": traffic.gathered,
        "seconds": min(seconds),
    }


def run_on_ranks(function: Callable[..., Any], ranks: int, args: tuple[Any, ...], limit: float) -> list[Any]:
    """Results of ``function(rank, ranks, *args)`` of every rank of a gloo group of new processes of one thread each.

    Raises:
        BenchmarkError: a rank failed, or they did not finish within ``limit`` seconds.
    """
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        address = f"file://{folder}/rendezvous"
        processes = [
            context.Process(target=_enter, args=(function, rank, ranks, address, answers, args), daemon=True)
            for rank in range(ranks)
        ]
        for process in processes:
            process.start()
        results: dict[int, Any] = {}
        deadline = time.monotonic() + limit
        try:
            while len(results) < ranks:
                dead = [rank for rank, process in enumerate(processes) if process.exitcode not in (None, 0)]
                if dead:
                    raise BenchmarkError(f"of {ranks} ranks these failed, with what is above: {dead}")
                if time.monotonic() > deadline:
                    raise BenchmarkError(f"{ranks} ranks did not finish within {limit:g} s")
                try:
                    rank, result = answers.get(timeout=1.0)
                except queue.Empty:
                    continue
                results[rank] = result
        finally:
            for process in processes:
                process.join(timeout=5)
                if process.is_alive():
                    process.kill()
                    process.join()
    return [results[rank] for rank in range(ranks)]


def _enter(
    function: Callable[..., Any], rank: int, ranks: int, address: str, answers: Any, args: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=address, rank=rank, world_size=ranks, timeout=timedelta(seconds=LIMIT_SECONDS)
    )
    answers.put((rank, function(rank, ranks, *args)))
    dist.destroy_process_group()
