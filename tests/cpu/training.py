"""A training run of stock verl in a subprocess, watched from outside."""

import json
import os
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from tests.toy import make_toy
from verl_nthr.cpu import environment, overrides

from .interpreter import REPOSITORY
from .leftovers import MARK, end_left_over, members, shared_memory_of

STEPS = 2


@dataclass(frozen=True)
class Run:
    """What a run left behind."""

    returncode: int
    log: str
    metrics: list[dict[str, float]]
    """One dictionary per step."""

    processes: list[str]
    """Command lines of its processes that are still there 30 s after its end."""

    shared_memory: list[str]
    """Files of /dev/shm that its processes had mapped and that are still there."""


def train(
    folder: Path, ray_dir: Path, workers: int, extra: list[str], limit: float, *, separate_rollouts: int = 0
) -> Run:
    """Train the toy for :data:`STEPS` steps; raises AssertionError where it is not done after ``limit`` seconds."""
    toy = make_toy(folder / "toy")
    mark, log, metrics = uuid.uuid4().hex, folder / "log.txt", folder / "metrics.jsonl"
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("VERL_", "VLLM_", "RAY_"))}
    variables |= environment()
    variables |= {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(REPOSITORY), "VERL_FILE_LOGGER_PATH": str(metrics)}
    variables |= {MARK: mark, "TMPDIR": str(ray_dir)}
    platform = overrides(workers, ray_dir, separate_rollouts=separate_rollouts)
    command = [sys.executable, "-m", "verl.trainer.main_ppo", *platform]
    command += [
        "algorithm.adv_estimator=grpo",
        f"data.train_files={toy.train}",
        f"data.val_files={toy.test}",
        "data.train_batch_size=8",
        "data.max_prompt_length=48",
        "data.max_response_length=16",
        f"actor_rollout_ref.model.path={toy.model}",
        f"critic.model.path={toy.model}",
        "actor_rollout_ref.actor.optim.lr=1e-3",
        "actor_rollout_ref.actor.ppo_mini_batch_size=8",
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=16",
        "critic.ppo_micro_batch_size_per_gpu=16",
        "actor_rollout_ref.rollout.n=4",
        "actor_rollout_ref.rollout.max_model_len=64",
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=16",
        "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=16",
        f"reward.custom_reward_function.path={toy.reward}",
        "trainer.logger=[console,file]",
        f"trainer.total_training_steps={STEPS}",
        "trainer.val_before_train=False",
        "trainer.resume_mode=disable",
        f"trainer.default_local_dir={folder / 'checkpoints'}",
        *extra,
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=variables, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        mapped = _watch(process, mark, limit)
    text = log.read_text(encoding="utf-8", errors="replace")
    assert process.returncode is not None, f"not done after {limit} s\n{text[-4000:]}"
    rows = [json.loads(line)["data"] for line in metrics.read_text().splitlines()] if metrics.exists() else []
    left = end_left_over(mark, 30)
    return Run(process.returncode, text, rows, left, sorted(path for path in mapped if Path(path).exists()))


def _watch(process: subprocess.Popen[bytes], mark: str, limit: float) -> set[str]:
    """Files of /dev/shm that the run's processes map until it ends; at the limit, its processes are killed."""
    mapped: set[str] = set()
    end = time.monotonic() + limit
    while process.poll() is None and time.monotonic() < end:
        for member in members(mark):
            mapped |= shared_memory_of(member.pid)
        time.sleep(1)
    if process.poll() is None:
        for member in members(mark):
            member.kill()
    return mapped
