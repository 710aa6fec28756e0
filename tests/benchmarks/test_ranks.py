"""Bytes that a step gives to collectives."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from benchmarks.ranks import counted, measure_ranks
from benchmarks.synthetic import Size
from tests.processes import run_ranks


def collect(rank: int) -> tuple[int, int, list[float]]:
    total = torch.full((10,), float(rank + 1))
    parts = [torch.zeros(3, dtype=torch.int64) for _ in range(2)]
    with counted() as traffic:
        dist.all_reduce(total)
        dist.all_gather(parts, torch.full((3,), rank))
    dist.all_reduce(torch.zeros(1000))
    return traffic.summed, traffic.gathered, total.tolist()


def test_the_tensors_given_to_collectives_are_counted_and_the_collectives_run() -> None:
    assert run_ranks(collect, 2) == [(40, 24, [3.0] * 10)] * 2


def test_a_step_sums_the_directions_whatever_the_number_of_ranks() -> None:
    size = Size(groups=2, rollouts=6, response=8, entries=8, hidden=64)
    directions = 4 * size.groups * size.entries * size.hidden
    alone, two, three = (measure_ranks(size, ranks, repeats=1) for ranks in (1, 2, 3))
    assert alone["summed_bytes"] == alone["gathered_bytes"] == 0
    assert two["summed_bytes"] == three["summed_bytes"]
    assert directions <= two["summed_bytes"] < 1.2 * directions
    assert two["seconds"] > 0
    keys = 8 * size.groups * size.entries
    assert 0 < two["gathered_bytes"] == pytest.approx(keys, abs=16)
