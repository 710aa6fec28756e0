"""Runs of stock ``python -m verl.trainer.main_ppo`` on the CPU platform, on the toy, for the tests of training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from tests.toy import ToyPaths
from verl_nthr.cpu import environment, overrides

TEMPERATURE, THRESHOLD, LONGEST = 0.8, 0.14, 20
BETA = 0.02
"""The toy scores the tokens of wrong answers far below the anchors: this selects some of them."""

EPSILON = 0.05
MONITOR = ["+algorithm.lld_monitor.freq=1", f"+algorithm.lld_monitor.epsilon={EPSILON}"]
ROOT = Path(__file__).parents[2]


def nthr(dumps: Path) -> list[str]:
    """Settings of a run with NTHR that writes ``<step>.jsonl`` into ``dumps``."""
    return ["algorithm.adv_estimator=nthr", f"+algorithm.nthr.beta={BETA}", f"+algorithm.nthr.token_dump_dir={dumps}"]


def actor(out: Path, step: int) -> Path:
    """Where a run that wrote into ``out`` saved its actor after a step; ``huggingface`` in it is the whole model."""
    return out / f"global_step_{step}" / "actor"


def train(
    toy: ToyPaths,
    out: Path,
    settings: Sequence[str],
    *,
    workers: int = 1,
    steps: int = 2,
    timeout: float = 540,
    platform: Callable[[int, str], list[str]] = overrides,
) -> list[dict[str, float]]:
    """Train up to step ``steps`` and return each step's metrics.

    A run that fails raises an AssertionError with the end of its log; one that lasts longer than ``timeout`` seconds is
    killed, children included. The other arguments are those of :func:`training`.
    """
    with training(toy, out, settings, workers=workers, steps=steps, platform=platform) as run:
        code = run.wait(timeout=timeout)
    assert code == 0, (out / "train.log").read_text()[-4000:]
    metrics = logged_steps(out)
    assert metrics[-1]["training/global_step"] == steps
    return metrics


def logged_steps(out: Path) -> list[dict[str, float]]:
    """The metrics of the steps that a run has done so far."""
    path = out / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [data for data in (json.loads(line)["data"] for line in lines) if "training/global_step" in data]


@contextmanager
def training(
    toy: ToyPaths,
    out: Path,
    settings: Sequence[str],
    *,
    workers: int,
    steps: int,
    platform: Callable[[int, str], list[str]] = overrides,
    environ: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[subprocess.Popen[bytes]]:
    """A run of ``steps`` steps of 6 prompts × 5 responses each, with dynamic batches; killed if the context is left.

    ``settings`` come last on the command line, and so win. ``out`` gets ``train.log``, ``metrics.jsonl``, verl's
    ``rollouts/`` and a checkpoint of every step. ``platform`` gives the settings of the machine, as
    :func:`verl_nthr.cpu.overrides` does; ``environ`` adds to the environment.
    """
    with tempfile.TemporaryDirectory(prefix="vn", ignore_cleanup_errors=True) as scratch:
        command = [
            *[sys.executable, "-m", "verl.trainer.main_ppo", *platform(workers, f"{scratch}/ray")],
            f"+algorithm.nthr.reward_threshold={THRESHOLD}",
            f"data.train_files={toy.train}",
            f"data.val_files={toy.test}",
            *["data.train_batch_size=6", "data.max_prompt_length=48", f"data.max_response_length={LONGEST}"],
            f"actor_rollout_ref.model.path={toy.model}",
            *["actor_rollout_ref.rollout.n=5", f"actor_rollout_ref.rollout.temperature={TEMPERATURE}"],
            *["actor_rollout_ref.rollout.max_model_len=80"],
            *["actor_rollout_ref.actor.optim.lr=1e-3", "actor_rollout_ref.actor.ppo_mini_batch_size=6"],
            *["actor_rollout_ref.actor.use_dynamic_bsz=True", "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=512"],
            *["actor_rollout_ref.rollout.log_prob_use_dynamic_bsz=True"],
            *["actor_rollout_ref.rollout.log_prob_max_token_len_per_gpu=512"],
            *[f"reward.custom_reward_function.path={toy.reward}", "reward.custom_reward_function.name=compute_score"],
            f"trainer.rollout_data_dir={out / 'rollouts'}",
            *["trainer.logger=[console,file]", f"trainer.total_training_steps={steps}"],
            *["trainer.val_before_train=False", "trainer.test_freq=-1"],
            *["trainer.save_freq=1", "trainer.resume_mode=disable", f"trainer.default_local_dir={out}"],
            "actor_rollout_ref.actor.checkpoint.save_contents=[model,optimizer,extra,hf_model]",
            f"hydra.run.dir={scratch}/hydra",
            *settings,
        ]
        variables = {"VERL_FILE_LOGGER_PATH": str(out / "metrics.jsonl"), "PYTHONPATH": str(ROOT)}
        with (out / "train.log").open("w") as log:
            run = subprocess.Popen(
                command,
                env={**os.environ, **environment(), **variables, **environ},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield run
        finally:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
                run.wait()
