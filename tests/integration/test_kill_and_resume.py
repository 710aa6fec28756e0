"""A stock run that is killed and resumed goes on as if nothing had happened; NTHR leaves no trace in checkpoints."""

from __future__ import annotations

import json
import random
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors import safe_open

from tests.integration.dumps import read_lines
from tests.integration.runs import ROOT, nthr, train, training
from tests.toy import ToyPaths, make_toy

STEPS = 5
LOOPS = """
- name: seeded
  _target_: tests.integration.repeatable.SeededLoop
"""
PROMPTS, SESSIONS = 6, 5
KILL_WITHIN = 4.0
"""Seconds after the dump of a step in which the run is killed, at the latest at the dump of the next one: before, while
or after its checkpoint is written."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> ToyPaths:
    return make_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of a run whose rollouts are repeatable."""
    loops = tmp_path_factory.mktemp("loops") / "loops.yaml"
    loops.write_text(LOOPS)
    sampler = "trainer.v1.sampler.custom_sampler"
    return [
        "data.seed=5",
        f"actor_rollout_ref.rollout.agent.agent_loop_config_path={loops}",
        "actor_rollout_ref.rollout.agent.default_agent_loop=seeded",
        f"{sampler}.path={ROOT / 'tests' / 'integration' / 'repeatable.py'}",
        f"{sampler}.name=OrderedReplayBuffer",
    ]


def random_nthr(dumps: Path) -> list[str]:
    """NTHR's scores, and as many tokens as it selects, drawn at random: both are to be repeated."""
    return [*nthr(dumps), "algorithm.adv_estimator=nthr_random", "trainer.resume_mode=auto"]


@pytest.fixture(scope="module")
def undisturbed(toy: ToyPaths, settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run from start to end."""
    out = tmp_path_factory.mktemp("undisturbed")
    train(toy, out, [*random_nthr(out), *settings], steps=STEPS)
    return out


def kill_tree(root: subprocess.Popen[bytes]) -> None:
    """SIGKILL for a process and all its descendants."""
    process = psutil.Process(root.pid)
    family = [process, *process.children(recursive=True)]
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    root.wait()
    psutil.wait_procs(family[1:], timeout=30)


def responses(dumps: Path, step: int) -> list[dict[str, Any]]:
    """The records of a step but for their uids, which verl draws anew in every run, sorted by what was written."""
    records = read_lines(dumps / f"{step}.jsonl")
    assert len(records) == PROMPTS * SESSIONS
    for record in records:
        del record["uid"]
    return sorted(records, key=lambda record: (record["prompt"], record["response_index"]))


@pytest.mark.covers("training: checkpoint and resume")
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    toy: ToyPaths, settings: list[str], undisturbed: Path, tmp_path: Path
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    rng = random.Random(seed)
    step, delay = rng.randint(2, STEPS - 2), rng.uniform(0, KILL_WITHIN)
    print(f"seed {seed}: killed {delay:.2f} s after the dump of step {step}")
    chosen = [*random_nthr(tmp_path), *settings]
    with training(toy, tmp_path, chosen, workers=1, steps=STEPS) as run:
        deadline = time.monotonic() + 540
        while not (tmp_path / f"{step}.jsonl").exists():
            assert run.poll() is None, (tmp_path / "train.log").read_text()[-4000:]
            assert time.monotonic() < deadline, f"no step {step} after 540 s"
            time.sleep(0.05)
        deadline = time.monotonic() + delay
        while time.monotonic() < deadline and not (tmp_path / f"{step + 1}.jsonl").exists():
            time.sleep(0.05)
        assert run.poll() is None, "the run ended before it was killed"
        kill_tree(run)
    saved = int((tmp_path / "latest_checkpointed_iteration.txt").read_text())
    print(f"resumed from the checkpoint of step {saved}")
    assert 1 <= step - 1 <= saved < STEPS
    (tmp_path / "train.log").rename(tmp_path / "killed.log")
    train(toy, tmp_path, chosen, steps=STEPS)
    assert f"global_step_{saved}" in (tmp_path / "train.log").read_text()
    assert not list(tmp_path.glob("*.part"))

    selected = 0
    for number in range(1, STEPS + 1):
        expected, found = responses(undisturbed, number), responses(tmp_path, number)
        assert [x["token_ids"] for x in found] == [x["token_ids"] for x in expected], "vLLM wrote something else"
        for name in ("reward", "log_probs", "scores", "tau", "weights"):
            assert [x[name] for x in found] == [x[name] for x in expected], f"{name} of step {number}"
        selected += sum(weight != 1 for record in found for weight in record["weights"])
    assert selected > 0


def structure(checkpoint: Path) -> dict[str, list[str]]:
    """By file of a checkpoint, the keys of what is in it."""
    found = {}
    for path in sorted(path for path in checkpoint.rglob("*") if path.is_file()):
        keys: list[str] = []
        if path.suffix == ".pt":
            keys = sorted(keys_of(torch.load(path, weights_only=False)))
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as tensors:
                keys = sorted(tensors.keys())
        elif path.suffix == ".json":
            keys = sorted(keys_of(json.loads(path.read_text())))
        found[str(path.relative_to(checkpoint))] = keys
    return found


def keys_of(value: Any, prefix: str = "") -> list[str]:
    """The keys of nested dicts."""
    if not isinstance(value, dict):
        return [prefix]
    return [key for name, inner in value.items() for key in keys_of(inner, f"{prefix}/{name}")]


def test_a_checkpoint_is_that_of_grpo(toy: ToyPaths, settings: list[str], undisturbed: Path, tmp_path: Path) -> None:
    train(toy, tmp_path, ["algorithm.adv_estimator=grpo", *settings], steps=1)
    ours, verls = structure(undisturbed / "global_step_1"), structure(tmp_path / "global_step_1")
    assert list(ours) == list(verls)
    assert ours == verls
    assert any(name.endswith(".pt") and len(keys) > 10 for name, keys in ours.items())
    assert not [
        path for path in (undisturbed / "global_step_1").rglob("*") if path.is_file() and b"nthr" in path.read_bytes()
    ]
