"""A run that asks for another estimator is verl's own; one that cannot work is refused before Ray starts."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from tests.integration.fsdp import build_engine
from tests.integration.models import make_model
from tests.integration.passes import Case, make_data, make_rows
from verl_nthr.cpu import environment, overrides

ESTIMATORS = ("grpo", "rloo")


def stock_outputs(models: str, answer: str) -> None:
    """Old-log-prob pass, advantages of several estimators and registries, as this process's plugins leave them."""
    import numpy as np
    import torch.distributed as dist
    from verl.protocol import DataProto
    from verl.trainer.ppo.v1 import trainer_base

    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=0, world_size=1)
        rows, case = make_rows(0, vocab_size=70), Case("fsdp2", packed=True, dynamic=True)
        engine = build_engine(models, case)
        with engine.eval_mode():
            outputs = engine.infer_batch(make_data(rows, list(range(12)), case))["model_output"]
        dist.destroy_process_group()
    outputs = {key: value.values() for key, value in outputs.items()}
    rng = torch.Generator().manual_seed(0)
    for estimator in ESTIMATORS:
        data = DataProto.from_dict(
            tensors={
                "token_level_rewards": torch.rand(8, 5, generator=rng),
                "response_mask": (torch.rand(8, 5, generator=rng) < 0.7).long(),
            },
            non_tensors={"uid": np.array(["a", "a", "b", "b", "a", "b", "a", "b"], dtype=object)},
        )
        keys = [f"{uid}_{i}_0" for i, uid in enumerate(data.non_tensor_batch["uid"])]
        data = trainer_base.compute_advantage_for_multi_trajectories(data, keys, adv_estimator=estimator, config={})
        outputs[estimator] = data.batch["advantages"]
    torch.save(outputs, answer)


def run_python(code: str, *, plugins: str, timeout: float = 240) -> None:
    root = Path(__file__).parents[2]
    variables = os.environ | environment() | {"VERL_USE_EXTERNAL_PLUGINS": plugins, "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", code], env=variables, cwd=root, check=True, timeout=timeout)


def test_another_estimator_gives_the_same_numbers_with_and_without_the_plugin(tmp_path: Path) -> None:
    make_model(tmp_path / "untied", tied=False)
    answers = {}
    for name, plugins in (("with", "nthr,nthr_cpu_platform"), ("without", "nthr_cpu_platform")):
        answer = tmp_path / f"{name}.pt"
        call = f"stock_outputs({str(tmp_path)!r}, {str(answer)!r})"
        run_python(f"from tests.integration.test_stock_runs import stock_outputs; {call}", plugins=plugins)
        answers[name] = torch.load(answer)
    assert set(answers["with"]) == {"log_probs", "entropy", *ESTIMATORS}
    assert set(answers["with"]) == set(answers["without"])
    for key, value in answers["with"].items():
        assert torch.equal(value, answers["without"][key]), key


TASK = [
    "data.train_batch_size=4",
    "actor_rollout_ref.actor.ppo_mini_batch_size=4",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=4",
    "actor_rollout_ref.model.path=/nonexistent",
]


def test_stock_main_ppo_refuses_before_ray_starts() -> None:
    with tempfile.TemporaryDirectory(prefix="vn") as folder:
        wrong = ["actor_rollout_ref.rollout.n=1", "+algorithm.nthr.bta=1"]
        settings = [*wrong, "algorithm.adv_estimator=nthr", f"hydra.run.dir={folder}"]
        run = subprocess.run(
            [sys.executable, "-m", "verl.trainer.main_ppo", *overrides(1, f"{folder}/ray"), *TASK, *settings],
            env=os.environ | environment(),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert run.returncode != 0
        assert "actor_rollout_ref.rollout.n=1: " in run.stderr
        assert "algorithm.nthr.beta?" in run.stderr
        assert not Path(folder, "ray").exists()
