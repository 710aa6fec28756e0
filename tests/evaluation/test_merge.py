"""Shards of verl's own checkpoint manager, merged by the script, and evaluated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

import merge_checkpoint
from tests.evaluation.cases import write_benchmark
from tests.processes import run_ranks
from tests.toy import make_toy
from verl_nthr.cli.main import main

ROOT = Path(__file__).parents[2]


def merge(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "merge_checkpoint.py", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def save(rank: int, model: Path, actor: Path) -> None:
    """Let verl's checkpoint manager save the sharded toy, its weights doubled."""
    import verl  # noqa: F401 - brings the CPU platform
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from transformers import AutoTokenizer
    from verl.utils.checkpoint.fsdp_checkpoint_manager import FSDPCheckpointManager

    whole = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter.mul_(2)
    sharded = fully_shard(whole, mesh=init_device_mesh("cpu", (2,), mesh_dim_names=("fsdp",)))
    contents = {"save_contents": ["model"], "load_contents": ["model"]}
    manager = FSDPCheckpointManager(
        sharded, processing_class=AutoTokenizer.from_pretrained(model), checkpoint_config=contents
    )
    manager.save_checkpoint(str(actor), global_step=5)


@pytest.mark.slow
def test_a_merged_checkpoint_is_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy = make_toy(tmp_path / "toy")
    step = tmp_path / "run" / "global_step_5"
    assert run_ranks(save, 2, toy.model, step / "actor", timeout=300) == [None, None]
    data = write_benchmark(tmp_path / "mine.parquet", 3)
    arguments = ["eval", step, "--data", data, "--reward", toy.reward, "--out", tmp_path / "out"]
    arguments += ["--max-response-tokens", 4, "--json"]
    assert main(list(map(str, arguments))) == 1
    assert "run:" in capsys.readouterr().err

    done = merge(step)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(step / "merged")
    merged = AutoModelForCausalLM.from_pretrained(step / "merged", dtype=torch.bfloat16).state_dict()
    original = AutoModelForCausalLM.from_pretrained(toy.model, dtype=torch.float32).state_dict()
    assert merged.keys() == original.keys()
    for name, weight in original.items():
        assert torch.equal(merged[name], (2 * weight).bfloat16())
    assert main(list(map(str, arguments))) == 0
    (found,) = json.loads(capsys.readouterr().out)["models"]
    assert (found["name"], found["step"], found["path"]) == ("run", 5, str(step / "merged"))

    again = merge(step)
    assert again.returncode == 1
    assert "merged exists; remove it" in again.stderr


def test_nothing_to_merge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["merge_checkpoint.py", str(tmp_path)])
    assert merge_checkpoint.main() == 1
    assert "holds no shards" in capsys.readouterr().err


@pytest.mark.slow
def test_damaged_shards(tmp_path: Path) -> None:
    actor = tmp_path / "global_step_1" / "actor"
    actor.mkdir(parents=True)
    (actor / "model_world_size_1_rank_0.pt").write_bytes(b"damaged")
    failed = merge(actor, tmp_path / "out")
    assert failed.returncode == 1
    assert "verl's merger ended with 1" in failed.stderr
    assert not (tmp_path / "out").exists()
