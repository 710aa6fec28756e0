"""Stock verl trains end to end on the CPU: Ray, TransferQueue, vLLM, FSDP."""

import math
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .training import STEPS, Run, train

KL = ["actor_rollout_ref.actor.use_kl_loss=True"]
FSDP1 = [
    "actor_rollout_ref.actor.strategy=fsdp",
    "actor_rollout_ref.actor.fsdp_config.strategy=fsdp",
    "actor_rollout_ref.ref.fsdp_config.strategy=fsdp",
]
CRITIC = ["algorithm.adv_estimator=gae"]
SEPARATE = [
    "trainer.v1.separate_async.parameter_sync_step=2",
    "trainer.v1.separate_async.num_warmup_batches=0",
    "actor_rollout_ref.actor.ppo_mini_batch_size=4",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=8",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=8",
]
LIMIT = 600


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="vc", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.timeout(LIMIT + 120)
@pytest.mark.parametrize(
    ("workers", "extra", "expected"),
    [
        pytest.param(1, [], [], id="1 worker"),
        pytest.param(2, KL, ["actor/kl_loss"], id="2 workers, reference model"),
        pytest.param(2, KL + FSDP1, ["actor/kl_loss"], id="2 workers, FSDP1, reference model"),
        pytest.param(1, CRITIC, ["critic/vf_loss"], id="1 worker, critic"),
    ],
)
def test_training(workers: int, extra: list[str], expected: list[str], tmp_path: Path, short_folder: Path) -> None:
    run = train(tmp_path, short_folder, workers, extra, LIMIT)
    check(run, expected)


@pytest.mark.slow
@pytest.mark.timeout(LIMIT + 120)
@pytest.mark.parametrize(("workers", "extra"), [(2, []), (1, FSDP1)], ids=["2 workers", "1 worker, FSDP1"])
def test_training_beside_a_separate_rollout(workers: int, extra: list[str], tmp_path: Path, short_folder: Path) -> None:
    """Both updates of a step see the probabilities with which the rollout sampled, which has the weights before it."""
    run = train(tmp_path, short_folder, workers, [*SEPARATE, *extra], LIMIT, separate_rollouts=1)
    check(run, ["timing_s/update_weights"])
    assert all(step["actor/ppo_kl"] != 0 for step in run.metrics)


def check(run: Run, expected: list[str]) -> None:
    """The run ended well, its rollout sampled from the trained model, and it left nothing behind."""
    assert run.returncode == 0, run.log[-6000:]
    assert len(run.metrics) == STEPS
    keys = ["actor/pg_loss", "actor/grad_norm", "critic/rewards/mean", "training/rollout_probs_diff_mean", *expected]
    for step in run.metrics:
        assert {key: step[key] for key in keys if not math.isfinite(step[key])} == {}
        assert step["actor/grad_norm"] > 0
        assert step["training/rollout_probs_diff_mean"] < 1e-5
    assert run.metrics[0]["critic/rewards/max"] > run.metrics[0]["critic/rewards/min"]
    assert "target_num_threads" not in run.log
    assert run.processes == []
    assert run.shared_memory == []
