"""A stock run ends soon, with an error and without leftovers, when one of its processes is killed or fails."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.integration.failing import Ended, ended, kill, started
from tests.integration.in_failing_workers import FAILED_FILE, MESSAGE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
KILLED = {
    "a training worker": ("ray::WorkerDict", "The actor died"),
    "a vLLM engine": ("VLLM::EngineCore", "EngineDeadError"),
    "a vLLM server": ("ray::vLLMHttpServer", "The actor died"),
    "the trainer": ("ray::TaskRunner", "The actor died"),
}


def check(run: Ended) -> None:
    """The run failed, and nothing of it is left."""
    print(f"exit code {run.code} after {run.seconds:.1f} s, last process after {run.seconds_of_all:.1f} s")
    assert run.code != 0
    assert run.processes == []
    assert run.shared_memory == []


@pytest.mark.parametrize("what", KILLED)
def test_a_killed_process_ends_the_run(what: str, tmp_path: Path) -> None:
    title, message = KILLED[what]
    run = kill(tmp_path, title, signal.SIGKILL)
    check(run)
    assert message in run.log


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_driver_that_is_ended_takes_everything_along(number: signal.Signals, tmp_path: Path) -> None:
    check(kill(tmp_path, "driver", number))


def test_an_error_in_the_forward_of_one_rank_reaches_the_driver(tmp_path: Path) -> None:
    failed = tmp_path / "failed"
    environ = {"VERL_USE_EXTERNAL_MODULES": "tests.integration.in_failing_workers", FAILED_FILE: str(failed)}
    with started(tmp_path, environ) as run:
        run.wait_for(failed.exists)
        end = ended(run)
    check(end)
    assert f"ArithmeticError: {MESSAGE}" in end.log


def test_a_killed_agent_loop_of_the_trainer_ends_the_run(tmp_path: Path) -> None:
    run = kill(tmp_path, "ray::AgentLoopWorker", signal.SIGKILL)
    check(run)
    assert "The actor died" in run.log
