"""Stock ``python -m verl.trainer.main_ppo`` trains with loss terms, with GRPO and with NTHR."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.integration.dumps import read_lines
from tests.integration.runs import nthr, train
from tests.toy import ToyPaths, make_toy
from verl_nthr.integration.config.loss_options import POLICY_LOSS
from verl_nthr.integration.config.validation import OWN_CLASS

STEPS = 2
TERMS = [
    f"{POLICY_LOSS}._target_={OWN_CLASS}",
    *[f"+{POLICY_LOSS}.positive_nll_coef=0.1", f"+{POLICY_LOSS}.llds_coef=0.1"],
]
METRICS = {"actor/positive_nll_loss", "actor/llds_loss", "actor/llds_active_fraction"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.covers("training: positive NLL and LLDS")]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> ToyPaths:
    return make_toy(tmp_path_factory.mktemp("toy"))


def test_with_nthr_the_first_mini_batch_has_the_likelihood_of_the_dump(toy: ToyPaths, tmp_path: Path) -> None:
    """One mini-batch a step: nothing has moved yet, so that LLDS has nothing to keep, but for rounding."""
    for step, metrics in enumerate(train(toy, tmp_path, [*nthr(tmp_path), *TERMS], steps=STEPS), start=1):
        log_probs = [
            log_prob
            for record in read_lines(tmp_path / f"{step}.jsonl")
            for log_prob, inside in zip(record["log_probs"], record["mask"], strict=True)
            if record["correct"] and inside
        ]
        assert log_probs
        assert metrics["actor/positive_nll_loss"] == pytest.approx(-sum(log_probs) / len(log_probs), rel=1e-5)
        assert 0 <= metrics["actor/llds_loss"] < 1e-5
        assert "nthr/eased_fraction" in metrics


def test_with_grpo_llds_acts_after_the_first_of_several_mini_batches(toy: ToyPaths, tmp_path: Path) -> None:
    settings = ["algorithm.adv_estimator=grpo", "actor_rollout_ref.actor.ppo_mini_batch_size=2", *TERMS]
    for metrics in train(toy, tmp_path, settings, workers=2, steps=STEPS):
        assert set(metrics) >= METRICS
        assert all(math.isfinite(metrics[name]) for name in METRICS)
        assert metrics["actor/positive_nll_loss"] > 0
        assert metrics["actor/llds_loss"] > 1e-5
        assert 0 < metrics["actor/llds_active_fraction"] < 1
        assert "nthr/eased_fraction" not in metrics
