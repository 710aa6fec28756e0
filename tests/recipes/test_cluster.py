"""The scripts that start a cluster, with stand-ins for Ray and Slurm, and the check of real nodes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.recipes.scripts import FOLDER, ROOT, run, stand_in

CLUSTER = FOLDER / "cluster"
NAMED = """#!/usr/bin/env bash
echo "$(basename "$0") $*" >>"$CALLS"
"""
SRUN = """#!/usr/bin/env bash
echo "srun $*" >>"$CALLS"
while [[ $1 == -* ]]; do shift; done
for rank in 0 1 2; do SLURM_PROCID=$rank "$@" & done
wait
"""


@pytest.fixture
def tools(tmp_path: Path) -> dict[str, str]:
    """Variables with which ``ray``, ``scontrol``, ``srun`` and Python are stand-ins that write to ``CALLS``."""
    stand_in(tmp_path, "ray", NAMED)
    stand_in(tmp_path, "srun", SRUN)
    stand_in(tmp_path, "scontrol", "#!/usr/bin/env bash\nprintf '%s\\n' 127.0.0.1 b c\n")
    (tmp_path / "calls").touch()
    return {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "PYTHON": str(stand_in(tmp_path)),
    }


def calls(tools: dict[str, str]) -> list[str]:
    return Path(tools["CALLS"]).read_text(encoding="utf-8").splitlines()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_the_head_starts_ray_runs_the_recipe_and_stops_ray(tools: dict[str, str]) -> None:
    done = run(CLUSTER / "node.sh", "head", "qwen3_32b_megatron", "a=b", RAY_START_ARGS="--num-gpus 8", **tools)
    assert done.returncode == 0, done.stderr
    start, checked, waited, trained, stop = calls(tools)
    assert start == "ray start --head --port=6379 --num-gpus 8"
    assert checked.startswith("-m\tverl_nthr.recipes.check\t--files\t")
    assert waited.startswith("-m\tverl_nthr.recipes.cluster\t--nodes\t4\t--gpus-per-node\t8")
    assert trained.startswith("-m\tverl.trainer.main_ppo")
    assert trained.endswith("\ta=b\t")
    assert stop == "ray stop"


def test_the_head_ends_as_the_recipe_does(tools: dict[str, str]) -> None:
    done = run(CLUSTER / "node.sh", "head", "qwen3_32b_megatron", NNODES="many", **tools)
    assert done.returncode == 2
    assert "NNODES=many: use an integer from 1" in done.stderr
    assert calls(tools)[-1] == "ray stop"


def test_a_worker_joins_the_head_and_leaves_with_it(tools: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as head:
        port = head.getsockname()[1]
        command = ["bash", CLUSTER / "node.sh", "worker", "127.0.0.1"]
        with subprocess.Popen(command, env=tools | {"RAY_PORT": str(port)}, stdout=subprocess.DEVNULL) as worker:
            head.accept()
            head.accept()
            assert worker.poll() is None
            head.close()
            assert worker.wait(timeout=60) == 0
    assert calls(tools) == [f"ray start --address=127.0.0.1:{port}", "ray stop"]


def test_a_node_that_cannot_start(tools: dict[str, str]) -> None:
    port = str(free_port())
    for arguments, message in {
        (): "'' is neither head nor worker",
        ("head",): "no recipe named ''",
        ("head", "qwen"): "no recipe named 'qwen'",
        ("worker",): "worker needs the head",
        ("worker", "127.0.0.1"): f"no Ray at 127.0.0.1:{port} after 1 s",
    }.items():
        done = run(CLUSTER / "node.sh", *arguments, JOIN_SECONDS="1", RAY_PORT=port, **tools)
        assert done.returncode == 2
        assert done.stderr.startswith(f"node: {message}")
        assert calls(tools) == []


def test_a_slurm_job_has_a_head_and_workers(tools: dict[str, str], tmp_path: Path) -> None:
    slurm = {
        "SLURM_JOB_NODELIST": "n[1-3]",
        "SLURM_JOB_NUM_NODES": "3",
        "SLURM_GPUS_ON_NODE": "4",
        "SLURM_SUBMIT_DIR": str(ROOT),
        "RAY_PORT": str(free_port()),
        "JOIN_SECONDS": "1",
        "CONTAINER": "env IN_CONTAINER=1",
        "SRUN_ARGS": "--container-image=verl",
        "TRAIN_BATCH_SIZE": "192",
        "PPO_MINI_BATCH_SIZE": "48",
    }
    script = tmp_path / "spooled"
    script.write_text((CLUSTER / "slurm.sbatch").read_text(encoding="utf-8"), encoding="utf-8")
    done = run(script, "qwen2_5_3b", "c=d", **tools, **slurm)
    launched, *others = calls(tools)
    assert launched == (
        "srun --ntasks-per-node=1 --kill-on-bad-exit=1 --container-image=verl env IN_CONTAINER=1 "
        "bash recipes/cluster/node.sh slurm_task 127.0.0.1 qwen2_5_3b c=d"
    )
    assert others[0] == f"ray start --head --port={slurm['RAY_PORT']}"
    assert "--nodes\t3\t--gpus-per-node\t4" in others[2]
    assert others[3].endswith("\tc=d\t")
    assert done.stderr.count(f"node: no Ray at 127.0.0.1:{slurm['RAY_PORT']}") == 2


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_nodes_of_a_real_cluster() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.recipes.two_nodes"], capture_output=True, text=True, timeout=360, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "cluster: 2 nodes with 4 GPUs load NTHR" in done.stdout
    assert "1 of 2 nodes with 8 GPUs after 1 s; the cluster has" in done.stderr
    assert "verl does not load NTHR" in done.stderr
