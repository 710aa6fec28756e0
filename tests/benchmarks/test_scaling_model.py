"""The formulas of the scaling page, beside what scoring really does."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench_scaling import Size, make_input, measure_ranks
from scaling_model import PAGE, Chip, Run, cost_of, directions_bytes, main, operations, sent_bytes
from verl_nthr.influence.scores import REDUCTION_ELEMENTS

RUN = Run("test", parameters=1e9, hidden=64, accelerators=2, prompts=4, rollouts=6, response=16, mixed=0.5)


def added_products(_: torch.Size, left: torch.Size, right: torch.Size, **__: object) -> int:
    """Operations of ``baddbmm_``, which torch does not count."""
    return 2 * left.numel() * right[-1]


def test_operations_are_those_that_torch_counts() -> None:
    size = Size(groups=3, rollouts=6, response=16, entries=40, hidden=64)
    batch = make_input(size, "cpu")
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.baddbmm_: added_products}) as counter:
        batch.scores()
    assert counter.get_total_flops() == operations(size.tokens, 0.5, size.entries, size.hidden)


@pytest.mark.slow
def test_bytes_are_those_given_to_collectives() -> None:
    size = Size(int(RUN.groups), RUN.rollouts, RUN.response, int(RUN.entries), RUN.hidden)
    found = measure_ranks(size, ranks=3, rounds=1)
    assert found["all_reduce"] == pytest.approx(directions_bytes(RUN), rel=0.03)
    assert found["all_gather"] <= 8 * size.groups * size.entries + 16


def test_a_sum_over_nodes() -> None:
    assert sent_bytes(800.0, ranks_in_node=8, nodes=1) == (1400.0, 0.0)
    assert sent_bytes(800.0, ranks_in_node=8, nodes=4) == (1400.0, 150.0)
    assert sent_bytes(800.0, ranks_in_node=1, nodes=2) == (0.0, 800.0)


def test_a_step_by_hand() -> None:
    chip = Chip(dense=1e9, products=1e6, memory=1e7, nvlink=1e5, network=1e4)
    cost = cost_of(RUN, chip)
    tokens, entries = 2 * 6 * 16 / 2, 10 * 96**0.5
    assert cost.pass_seconds == pytest.approx(2 * 1e9 * 24 * (16 + 256) / (2 * 1e9))
    assert cost.features == tokens * 64 * 2
    assert cost.products == pytest.approx(2 * entries * 64 * tokens * 3 / 1e6)
    assert cost.elementwise == pytest.approx((tokens * 1.5 * entries * 24 + tokens * 64 * 13) / 1e7)
    assert cost.reduction == pytest.approx(2 * entries * 64 * 2 / 1e5)
    # a single chunk
    assert cost.share == pytest.approx((cost.products + cost.elementwise + cost.reduction) / cost.pass_seconds)
    many = replace(cost, directions=4.0 * 10 * REDUCTION_ELEMENTS, products=2.0, elementwise=1.0, reduction=5.0)
    assert many.share == pytest.approx((3.0 + 5.0 - 0.9 * 3.0) / cost.pass_seconds)


def test_the_page_holds_the_scripts_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = tmp_path / "scaling.json"
    with mock.patch.object(sys, "argv", ["scaling_model.py", "--json", str(found)]):
        assert main() == 0
    printed = capsys.readouterr().out
    assert printed in PAGE.read_text(encoding="utf-8")
    assert len(json.loads(found.read_text())["runs"]) == printed.splitlines()[0].count("|") - 2
