"""Means, intervals and differences against values worked out by hand."""

from __future__ import annotations

import json
import math

import pytest

from tests.comparison.cases import result
from verl_nthr.comparison.report import grids
from verl_nthr.comparison.statistics import curve, summarise
from verl_nthr.tables import markdown

T_95_TWO_DEGREES = 4.302652729911275
"""Quantile 0.975 of Student's t with two degrees of freedom, √2·0.95/√(1 − 0.95²)."""

GRPO = [result("grpo", seed, [0.4, after], [0.2, 0.4]) for seed, after in enumerate((0.5, 0.6, 0.7))]
NTHR = [result("nthr", seed, [0.4, after], [0.1, None]) for seed, after in enumerate((0.6, 0.6, 0.9))]


def test_the_quantile_by_its_closed_form() -> None:
    assert pytest.approx(math.sqrt(2) * 0.95 / math.sqrt(1 - 0.95**2)) == T_95_TWO_DEGREES


def test_means_and_intervals() -> None:
    found = summarise(GRPO + NTHR)["tasks"]["demo"]["grpo"]
    half = T_95_TWO_DEGREES * 0.1 / math.sqrt(3)
    assert found["seeds"] == 3
    assert found["greedy_before"] == pytest.approx(0.4)
    assert found["greedy_after"] == pytest.approx({"mean": 0.6, "low": 0.6 - half, "high": 0.6 + half})
    assert found["share_negative"]["mean"] == pytest.approx(0.3)
    assert found["pass_at_k_after"]["mean"] == pytest.approx(0.6)
    assert "minus_grpo" not in found


def test_differences_seed_by_seed() -> None:
    found = summarise(NTHR + GRPO)["tasks"]["demo"]["nthr"]
    difference = found["minus_grpo"]["greedy_after"]
    half = T_95_TWO_DEGREES * 0.1 / math.sqrt(3)
    assert difference.pop("seeds_above") == 2
    assert difference == pytest.approx({"mean": 0.1, "low": 0.1 - half, "high": 0.1 + half})
    assert found["share_negative"]["mean"] == pytest.approx(0.1)


def test_one_seed_has_no_interval() -> None:
    found = summarise([GRPO[0], NTHR[0]])["tasks"]["demo"]["nthr"]
    assert found["greedy_after"] == {"mean": 0.6, "low": None, "high": None}


def test_curves() -> None:
    greedy = curve(GRPO, "greedy")
    assert list(greedy.index) == [0, 1]
    assert greedy.loc[1, "mean"] == pytest.approx(0.6)
    assert greedy.loc[0, "low"] == pytest.approx(0.4)
    share = curve([NTHR[0], result("nthr", 1, [0.4, 0.4], [0.3, 0.5])], "share_negative")
    assert list(share.index) == [1, 2]
    assert share.loc[1, "mean"] == pytest.approx(0.2)
    assert share.loc[2, "mean"] == pytest.approx((0.1 + (0.3 + 0.5) / 2) / 2), "means over the steps so far"
    assert math.isnan(curve([NTHR[0]], "share_negative").loc[1, "low"])
    difference = curve(NTHR, "greedy", GRPO)
    assert difference.loc[0].tolist() == pytest.approx([0.0, 0.0, 0.0])
    assert difference.loc[1, "mean"] == pytest.approx(0.1)
    assert difference.loc[1, "high"] == pytest.approx(0.1 + T_95_TWO_DEGREES * 0.1 / math.sqrt(3))


def test_runs_without_a_correct_response() -> None:
    summary = summarise([result(method, 0, [0.0, 0.0], [None, None]) for method in ("grpo", "nthr")])
    found = summary["tasks"]["demo"]["nthr"]
    assert found["share_negative"] == {"mean": None, "low": None, "high": None}
    assert found["minus_grpo"]["delta_logp"]["mean"] is None
    json.dumps(summary, allow_nan=False)
    assert grids(summary, 8)[0].rows[1][3] == "–"


def test_the_table() -> None:
    summary = summarise(GRPO + NTHR)
    before, grpo, nthr = grids(summary, 8)[0].rows
    assert before[:3] == ["before", "40.0", "50.0"]
    assert grpo[:2] == ["GRPO", "60.0"]
    assert nthr[:2] == ["GRPO+NTHR", "70.0 (+10.0 ± 24.8)"]
    assert nthr[3] == "10.0 (−20.0 ± 0.0)"
    assert nthr[-1] == "10.0"
    lines = markdown(grids(summary, 8)).splitlines()
    assert lines[0].startswith("**demo task: means over 3 seeds")
    assert {line.count("|") for line in lines[2:]} == {7}
