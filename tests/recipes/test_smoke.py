"""Recipes that really train, two steps of a toy on the CPU."""

from __future__ import annotations

import json
import math
import sys

import pytest

from tests.recipes.scripts import FOLDER, FSDP, ROOT, run

FAST = "qwen2_5_0_5b_instruct"


def trains(name: str) -> dict[str, float]:
    done = run(
        FOLDER / f"{name}.sh", SMOKE="1", PYTHON=sys.executable, PYTHONPATH=str(ROOT), HOME=str(ROOT), limit=1000
    )
    assert done.returncode == 0, done.stderr[-4000:]
    first, _, metrics = done.stdout.partition("metrics:\n")
    assert first.splitlines()[-1].startswith("recipe: 2 steps on the toy")
    return json.loads(metrics)


@pytest.mark.timeout(1100)
@pytest.mark.parametrize("name", [pytest.param(each, marks=() if each == FAST else pytest.mark.slow) for each in FSDP])
def test_a_recipe_trains(name: str) -> None:
    metrics = trains(name)
    assert metrics["training/global_step"] == 2
    assert math.isfinite(metrics["actor/grad_norm"])
    assert metrics["actor/grad_norm"] > 0
    assert any(key.startswith("val-core/") and "acc" in key for key in metrics)
    if name.startswith("ngrpo"):
        assert "actor/kl_loss" not in metrics
        assert not any(key.startswith("nthr/selected") for key in metrics)
    else:
        assert metrics["nthr/mixed_group_fraction"] == 1
        assert math.isfinite(metrics["actor/kl_loss"])
