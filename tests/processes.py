"""Run a function on several ranks, with a bounded wait: a hang is a failure."""

from __future__ import annotations

import multiprocessing
import os
import queue
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from typing import Any


def run_ranks(
    function: Callable[..., Any], world_size: int, *args: Any, timeout: float = 120.0, backend: str = "gloo"
) -> list[Any]:
    """Results of ``function(rank, *args)`` on each rank of a process group, in the order of the ranks.

    Ranks on the CPU are forked from a server that has imported verl (:mod:`tests.rank_server`), with its environment.
    Results come back by pickle: return plain numbers, lists or CPU tensors turned into numpy. An exception on a rank is
    returned as the exception itself.

    Raises:
        AssertionError: a rank did not finish within ``timeout`` seconds, or died.
    """
    context = multiprocessing.get_context("spawn" if "nccl" in backend else "forkserver")
    context.set_forkserver_preload(["tests.rank_server"])
    answers = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        ranks = [
            context.Process(target=_run, args=(function, rank, world_size, folder, answers, args, backend), daemon=True)
            for rank in range(world_size)
        ]
        for process in ranks:
            process.start()
        results: dict[int, Any] = {}
        deadline = time.monotonic() + timeout
        try:
            while len(results) < world_size:
                left = deadline - time.monotonic()
                assert left > 0, f"ranks {sorted(set(range(world_size)) - set(results))} hang after {timeout} s"
                try:
                    rank, result = answers.get(timeout=min(left, 1.0))
                    results[rank] = result
                except queue.Empty:
                    dead = [
                        rank for rank, process in enumerate(ranks) if not process.is_alive() and rank not in results
                    ]
                    assert not dead or not answers.empty(), f"ranks {dead} died with no answer"
        finally:
            for process in ranks:
                process.join(timeout=5)
                if process.is_alive():
                    process.kill()
                    process.join()
    return [results[rank] for rank in range(world_size)]


def _run(
    function: Callable[..., Any],
    rank: int,
    world_size: int,
    folder: str,
    answers: Any,
    args: tuple[Any, ...],
    backend: str,
) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world_size), LOCAL_RANK=str(rank))
    dist.init_process_group(
        backend,
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=60),
    )
    try:
        result = function(rank, *args)
    except Exception as error:  # noqa: BLE001 - handed to the caller as the result
        traceback.print_exc()
        result = error
    answers.put((rank, result))
    dist.destroy_process_group()
