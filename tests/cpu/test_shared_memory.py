"""Leftovers in /dev/shm: ours go, everybody else's stay."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

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
    assert [name for name in names if (SHM / name).exists()] == []
    assert (SHM / foreign).exists()


def test_without_the_platform_they_stay(foreign: str, tmp_path: Path) -> None:
    names = output_of(CREATE.format(foreign=foreign, then=""), cpu=False).split()
    left = [name for name in names if (SHM / name).exists()]
    for name in left:
        (SHM / name).unlink()
    assert names[0] in left


def test_a_killed_run_is_cleaned_up_by_the_next_and_a_living_one_is_not(foreign: str, tmp_path: Path) -> None:
    variables = {key: value for key, value in os.environ.items() if not key.startswith("VERL_")}
    variables |= {"VERL_PLATFORM": "cpu", "TMPDIR": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    code = CREATE.format(foreign=foreign, then="time.sleep(120)")
    runs = [
        subprocess.Popen([sys.executable, "-c", code], env=variables, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        killed, living = ([*run.stdout.readline().split()] for run in runs)
        runs[0].send_signal(signal.SIGKILL)
        runs[0].wait(timeout=10)
        assert all((SHM / name).exists() for name in killed + living)
        output_of("import verl_nthr.cpu.plugin", cpu=True, environment={"TMPDIR": str(tmp_path)})
        assert [name for name in killed if (SHM / name).exists()] == []
        assert all((SHM / name).exists() for name in living)
        assert (SHM / foreign).exists()
    finally:
        for run in runs:
            run.terminate()
            run.wait(timeout=10)
    time.sleep(0.1)
    output_of("import verl_nthr.cpu.plugin", cpu=True, environment={"TMPDIR": str(tmp_path)})
    assert [name for name in living if (SHM / name).exists()] == []


def test_a_killed_run_is_cleaned_up_by_its_reaper(foreign: str, tmp_path: Path) -> None:
    variables = {key: value for key, value in os.environ.items() if not key.startswith("VERL_")}
    variables |= {"VERL_PLATFORM": "cpu", "TMPDIR": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    code = "from verl_nthr.cpu import shm_reaper\n" + CREATE.format(
        foreign=foreign, then="shm_reaper.start(); time.sleep(120)"
    )
    run = subprocess.Popen([sys.executable, "-c", code], env=variables, stdout=subprocess.PIPE, text=True)
    names = run.stdout.readline().split()
    deadline = time.monotonic() + 60
    while not psutil.Process(run.pid).children() and time.monotonic() < deadline:
        time.sleep(0.1)
    run.kill()
    run.wait(timeout=10)
    while any((SHM / name).exists() for name in names) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(names) == 2
    assert [name for name in names if (SHM / name).exists()] == []
    assert (SHM / foreign).exists()


def test_a_process_that_joined_a_run_starts_no_reaper(tmp_path: Path) -> None:
    code = "from verl_nthr.cpu.shm_reaper import psutil, start; start(); print(len(psutil.Process().children()))"
    session = {"VERL_CPU_SESSION": str(tmp_path / "1-1.txt"), "TMPDIR": str(tmp_path)}
    assert output_of(code, cpu=True, environment=session) == "0"


def test_only_plain_names_are_removed(tmp_path: Path) -> None:
    from verl_nthr.cpu.shared_memory import remove

    victim = tmp_path / "victim"
    victim.touch()
    session = tmp_path / "session.txt"
    session.write_text(f"../..{victim}\n{victim}\n..\n\nnot-there\n")
    assert remove(session) == []
    assert victim.exists()
    assert not session.exists()
