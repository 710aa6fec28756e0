"""Processes that outlive a run: the run's own are ended, others are not."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from verl_nthr.cpu.processes import SESSION_VARIABLE, end, members

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


@contextmanager
def process(title: str, session: str, code: str = STUBBORN) -> Iterator[subprocess.Popen[str]]:
    """A process whose command line begins with ``title``, in the run ``session``."""
    child = subprocess.Popen(
        [title, "-c", code],
        executable=sys.executable,
        env={SESSION_VARIABLE: session},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        yield child
    finally:
        child.kill()
        child.wait(timeout=10)


def test_only_workers_of_the_run_are_ended() -> None:
    with (
        process("ray::Stuck", "a") as ours,
        process("VLLM::Worker", "a") as engine,
        process("ray::Stuck", "b") as of_another_run,
        process("tensorboard", "a") as started_by_the_user,
    ):
        assert {member.pid for member in members("a")} == {ours.pid, engine.pid}
        assert sorted(end("a", 0.5)) == ["VLLM::Worker", "ray::Stuck"]
        assert not psutil.pid_exists(ours.pid)
        assert not psutil.pid_exists(engine.pid)
        assert of_another_run.poll() is None
        assert started_by_the_user.poll() is None


def test_a_process_that_ends_by_itself_is_waited_for() -> None:
    with process("ray::Slow", "c", "import time; print('up', flush=True); time.sleep(1)") as slow:
        start = time.monotonic()
        assert end("c", 20) == []
        assert time.monotonic() - start < 15
        assert not psutil.pid_exists(slow.pid)
