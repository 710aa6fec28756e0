"""What a run leaves behind, processes and files in /dev/shm: its own go, everybody else's stay."""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from verl_nthr.cpu.cleanup import SESSION_VARIABLE, end_processes, processes_of, remove_segments

from .interpreter import REPOSITORY, output_of

SHM = Path("/dev/shm")

CREATE = """
import multiprocessing, os, sys, time
from multiprocessing import resource_tracker, shared_memory
resource_tracker.register = lambda *args: None   # as if the process were killed before it could clean up
import verl_nthr.cpu.plugin
segment = shared_memory.SharedMemory(create=True, size=64)
attached = shared_memory.SharedMemory({foreign!r})
lock = multiprocessing.get_context("spawn").Lock()
print(segment.name, "sem." + lock._semlock.name.lstrip("/"), flush=True)
{then}
"""


@pytest.fixture
def foreign() -> Iterator[str]:
    """A segment that somebody else made, whose name looks like any other."""
    path = SHM / f"psm_{uuid.uuid4().hex[:8]}"
    path.write_bytes(bytes(64))
    yield path.name
    path.unlink(missing_ok=True)


def test_segments_go_with_the_process_that_began_the_run(foreign: str, tmp_path: Path) -> None:
    code = CREATE.format(foreign=foreign, then="")
    names = output_of(code, cpu=True, environment={"TMPDIR": str(tmp_path)}).split()
    assert len(names) == 2
    assert left(names) == []
    assert (SHM / foreign).exists()


def test_without_the_platform_they_stay(foreign: str, tmp_path: Path) -> None:
    names = output_of(CREATE.format(foreign=foreign, then=""), cpu=False).split()
    stayed = left(names)
    for name in stayed:
        (SHM / name).unlink()
    assert names[0] in stayed


@contextmanager
def running(code: str, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A run, and the names that it prints."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("VERL_")}
    variables |= {"VERL_PLATFORM": "cpu", "TMPDIR": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    run = subprocess.Popen([sys.executable, "-c", code], env=variables, stdout=subprocess.PIPE, text=True)
    try:
        assert run.stdout is not None
        yield run, run.stdout.readline().split()
    finally:
        run.kill()
        run.wait(timeout=60)


def left(names: list[str]) -> list[str]:
    return [name for name in names if (SHM / name).exists()]


def test_a_killed_run_is_cleaned_up_by_the_next_and_a_living_one_is_not(foreign: str, tmp_path: Path) -> None:
    code = CREATE.format(foreign=foreign, then="time.sleep(120)")
    with running(code, tmp_path) as (dying, killed), running(code, tmp_path) as (_, living):
        dying.kill()
        dying.wait(timeout=60)
        assert len(left(killed)) == len(left(living)) == 2
        output_of("import verl_nthr.cpu.plugin", cpu=True, environment={"TMPDIR": str(tmp_path)})
        assert left(killed) == []
        assert left(living) == living
        assert (SHM / foreign).exists()
    output_of("import verl_nthr.cpu.plugin", cpu=True, environment={"TMPDIR": str(tmp_path)})
    assert left(living) == []


def test_a_killed_run_is_cleaned_up_by_its_reaper(foreign: str, tmp_path: Path) -> None:
    code = "from verl_nthr.cpu import cleanup\n" + CREATE.format(
        foreign=foreign, then="cleanup.start_reaper(); print(); time.sleep(120)"
    )
    deadline = time.monotonic() + 60
    with running(code, tmp_path) as (run, names):
        assert run.stdout is not None
        run.stdout.readline()
    while left(names) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(names) == 2
    assert left(names) == []
    assert (SHM / foreign).exists()


def test_ray_starts_the_reaper_of_the_process_that_began_the_run_alone(tmp_path: Path) -> None:
    code = """
import psutil
from verl_nthr.cpu.cleanup import around_ray_init, open_session
open_session()
print(around_ray_init(lambda *args, **kwargs: (args, kwargs), None, ("local",), {"num_cpus": 1}))
print(len(psutil.Process().children()))
"""
    began = output_of(code, cpu=False, environment={"TMPDIR": str(tmp_path)})
    joined = output_of(code, cpu=False, environment={"VERL_CPU_SESSION": str(tmp_path / "1-1.txt")})
    assert [each.splitlines() for each in (began, joined)] == [["(('local',), {'num_cpus': 1})", n] for n in "10"]


def test_only_plain_names_are_removed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.touch()
    session = tmp_path / "session.txt"
    session.write_text(f"../..{victim}\n{victim}\n..\n\nnot-there\n")
    remove_segments(session)
    assert victim.exists()
    assert not session.exists()


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
        assert {member.pid for member in processes_of("a")} == {ours.pid, engine.pid}
        assert sorted(end_processes("a", 0.5)) == ["VLLM::Worker", "ray::Stuck"]
        assert not psutil.pid_exists(ours.pid)
        assert not psutil.pid_exists(engine.pid)
        assert of_another_run.poll() is None
        assert started_by_the_user.poll() is None


def test_a_process_that_ends_by_itself_is_waited_for() -> None:
    with process("ray::Slow", "c", "import time; print('up', flush=True); time.sleep(1)") as slow:
        start = time.monotonic()
        assert end_processes("c", 20) == []
        assert time.monotonic() - start < 15
        assert not psutil.pid_exists(slow.pid)
