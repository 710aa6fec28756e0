"""The pass of verl's real FSDP engines gives the scores that Hugging Face and the float64 double sums give."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.integration.coverage import parameters
from tests.integration.fsdp import run_pass
from tests.integration.passes import Case, Rows, make_rows
from tests.integration.references import check_log_probs, check_scores
from tests.processes import run_ranks

CASES = [
    Case("fsdp2", packed=False, dynamic=False),
    Case("fsdp2", packed=False, dynamic=True),
    Case("fsdp2", packed=True, dynamic=True),
    Case("fsdp2", packed=True, dynamic=False, tied=True),
    Case("fsdp2", packed=False, dynamic=True, tied=True, vocabulary="full"),
    Case("fsdp2", packed=True, dynamic=True, anchor_includes_self=False),
    Case("fsdp2", packed=True, dynamic=True, length_normalised=True),
    Case("fsdp", packed=True, dynamic=True, tied=True),
    Case("fsdp", packed=False, dynamic=False),
]

RANKS = [pytest.param(1, id="1 rank"), pytest.param(2, id="2 ranks", marks=pytest.mark.covers("FSDP: 2 ranks"))]


def test_every_two_settings_are_tried_together() -> None:
    settings = ("strategy", "packed", "dynamic", "tied")
    for first, second in combinations(settings, 2):
        tried = {(getattr(case, first), getattr(case, second)) for case in CASES}
        assert len(tried) == 4, f"{first} and {second}: only {sorted(tried)}"


@pytest.fixture(scope="module")
def rows() -> Rows:
    return make_rows(0, vocab_size=70)


@pytest.fixture(scope="module", params=RANKS)
def passes(request: pytest.FixtureRequest, models: Path, rows: Rows) -> list[list[dict[str, Any]]]:
    """Results by rank and case."""
    results = run_ranks(run_pass, request.param, str(models), rows, CASES, timeout=300)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


@pytest.mark.parametrize("index", parameters(CASES))
def test_scores_and_thresholds_are_those_of_hugging_face(
    passes: list[list[dict[str, Any]]], models: Path, rows: Rows, index: int
) -> None:
    found, case = [of_rank[index] for of_rank in passes], CASES[index]
    check_log_probs(found, models, rows, case)
    check_scores(found, models, rows, case)


def test_the_pass_needs_no_forward_more_and_leaves_verls_outputs_and_engine_alone(
    passes: list[list[dict[str, Any]]],
) -> None:
    for of_rank in passes:
        for found in of_rank:
            without, with_nthr = found["forwards"]
            assert without == with_nthr > 0
            assert found["plain_keys"] == ["entropy", "log_probs"]
            assert found["same_outputs"]
            assert found["left_behind"] == (False, 0)


def test_without_a_mixed_group_nothing_is_scored(passes: list[list[dict[str, Any]]]) -> None:
    for of_rank in passes:
        for found in of_rank:
            assert found["unscored"]
