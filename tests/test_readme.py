"""The README's tables hold what the code holds."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import torch

from verl_nthr.integration.groups import group_responses
from verl_nthr.integration.metrics import step_metrics
from verl_nthr.integration.monitor import displacement_metrics
from verl_nthr.integration.options import NTHROptions

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_the_options_table_names_every_option_with_its_default() -> None:
    table = dict(re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", section("Options"), flags=re.MULTILINE))
    assert table == {field.name: str(field.default) for field in dataclasses.fields(NTHROptions)}


def test_the_metrics_table_names_every_metric() -> None:
    groups = group_responses(["a_0_0", "a_1_0"], [False, False], [True, False])
    scores = torch.nested.as_nested_tensor([torch.tensor([1.0]), torch.tensor([2.0])], layout=torch.jagged)
    metrics = step_metrics(groups, NTHROptions(), scores, torch.tensor([0.5, 0.5]), torch.tensor([0.1, 0.1]))
    metrics |= displacement_metrics(torch.tensor([0.1]), 0.0)
    assert set(re.findall(r"`(nthr/[a-z0-9_/]+)`", section("Metrics"))) == set(metrics)
