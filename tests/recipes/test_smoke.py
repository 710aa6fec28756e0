"""Recipes that train two steps of a toy on the CPU."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

from tests.recipes.scripts import FOLDER, FSDP, ROOT, Recipes, run
from verl_nthr.demo.toy import Toy
from verl_nthr.integration.config.composition import compose_run
from verl_nthr.recipes import smoke
from verl_nthr.recipes.check import check
from verl_nthr.recipes.digit_parity_reward import compute_score


@pytest.mark.slow
@pytest.mark.timeout(1100)
@pytest.mark.parametrize("name", FSDP)
def test_a_recipe_trains(name: str) -> None:
    done = run(
        FOLDER / f"{name}.sh", SMOKE="1", PYTHON=sys.executable, PYTHONPATH=str(ROOT), HOME=str(ROOT), limit=1000
    )
    assert done.returncode == 0, done.stderr[-4000:]
    printed, _, rest = done.stdout.partition("metrics:\n")
    assert printed.splitlines()[-1].startswith("recipe: 2 steps on the toy")
    metrics = json.loads(rest)
    assert metrics["training/global_step"] == smoke.STEPS
    assert math.isfinite(metrics["actor/grad_norm"])
    assert metrics["actor/grad_norm"] > 0
    assert metrics["val-core/worked_addition/acc/mean@1"] in {number / 8 for number in range(9)}
    if name.startswith("ngrpo"):
        assert not {"actor/kl_loss", "nthr/eased_fraction"} & metrics.keys()
    else:
        assert metrics["nthr/mixed_group_fraction"] == 1
        assert math.isfinite(metrics["actor/kl_loss"])


@pytest.mark.parametrize("name", ["qwen2_5_3b", "ngrpo_qwen2_5_math_7b"])
def test_a_rehearsal_keeps_the_method_and_shrinks_the_rest(recipes: Recipes, tmp_path: Path, name: str) -> None:
    toy = Toy(tmp_path / "model", tmp_path / "train.parquet", tmp_path / "unseen.parquet")
    short = Path("/tmp/toy")
    whole = recipes.config(name, SP_SIZE="2", OFFLOAD="True", ROLLOUT_TP="2")
    small = compose_run(
        [*recipes.overrides(name, SP_SIZE="2", OFFLOAD="True", ROLLOUT_TP="2"), *smoke.shrink(short, toy)]
    )
    check(small)
    assert small.algorithm == whole.algorithm
    for key in ("optim", "clip_ratio_low", "clip_ratio_high", "clip_ratio_c", "use_kl_loss", "kl_loss_coef"):
        assert small.actor_rollout_ref.actor[key] == whole.actor_rollout_ref.actor[key]
    assert (small.trainer.nnodes, small.trainer.n_gpus_per_node, small.trainer.device) == (1, 1, "cpu")
    rollout, actor = small.actor_rollout_ref.rollout, small.actor_rollout_ref.actor
    assert rollout.tensor_model_parallel_size == actor.fsdp_config.ulysses_sequence_parallel_size == 1
    assert small.data.train_files == str(toy.train)


def test_a_rehearsal_of_settings_that_cannot_work(recipes: Recipes, capsys: pytest.CaptureFixture[str]) -> None:
    assert smoke.main(recipes.overrides("qwen2_5_3b", ESTIMATOR="nhtr")) == 2
    assert "recipe: algorithm.adv_estimator=nhtr: verl knows no such estimator" in capsys.readouterr().err


def test_half_of_all_responses_earn_the_reward() -> None:
    rewards = [compute_score("", f"{number:b}a", "")["score"] for number in (0, 1, 2, 3, 4, 8)]
    assert rewards == [0, 0, 1, 1, 0, 1]
