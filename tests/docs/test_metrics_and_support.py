"""The support matrix and the page of metrics hold what the code holds."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch

from tests.docs.pages import read
from tests.support import matrix
from verl_nthr.integration.driver.groups import group_responses
from verl_nthr.integration.driver.lld_monitor import displacement_metrics
from verl_nthr.integration.driver.metrics import step_metrics
from verl_nthr.weighting import NTHR, WEIGHTINGS, WeightingInputs

METRICS = read("reference/metrics.md")


def test_the_page_of_metrics_names_every_metric() -> None:
    groups = group_responses(["a_0_0", "a_1_0"], [False, False], [True, False])
    scores, thresholds = torch.tensor([[1.0], [2.0]]), torch.tensor([0.5, 0.5])
    responses = WeightingInputs(
        torch.tensor([[1.0], [-1.0]]), scores, thresholds, groups.row_correct, groups.success_rate
    )
    metrics = step_metrics(groups, NTHR(), responses) | displacement_metrics(torch.tensor([0.1]), 0.0)
    effects = {f"nthr/{weighting.effect}_fraction" for weighting in WEIGHTINGS.values()}
    of_the_trainer = {"nthr/seconds", "nthr/kept_share", "nthr/nonfinite_groups"}
    assert set(re.findall(r"`(nthr/[a-z0-9_/]+)`", METRICS)) == set(metrics) | effects | of_the_trainer


def test_the_support_matrix_is_that_of_the_tests() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.support", "--check"], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr


def test_a_matrix_by_hand() -> None:
    covered = {"FSDP: A": {"", "slow"}, "FSDP: b": {"slow"}, "training: c": {"distributed"}}
    rows = matrix(covered, {"FSDP: d"}).splitlines()[2:]
    assert rows[0].startswith("| FSDP | A | b | d | ")
    assert rows[3].startswith("| training |  | c |  | ")


@pytest.mark.parametrize(
    ("covered", "refused", "message"),
    [
        ({"FSDP: a": {""}}, {"FSDP: a"}, "covered by a test and refused: FSDP: a"),
        ({"FSDP: GPUs": {""}}, set(), "covered by a test and not run: FSDP: GPUs"),
        ({"elsewhere: a": {""}}, set(), "of none of the sections FSDP, Megatron"),
    ],
)
def test_a_matrix_that_contradicts_itself(covered: dict[str, set[str]], refused: set[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        matrix(covered, refused)
