"""A bounded process tree: exit codes, limits, and that nothing survives."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from verl_nthr.processes import ProcessFailed, ProcessTree

GRANDCHILD = (
    "import subprocess, sys, time, pathlib\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import signal, time; signal.signal(signal.SIGTERM, "
    "signal.SIG_IGN); time.sleep(600)'], start_new_session=True)\n"
    "pathlib.Path('pid').write_text(str(child.pid))\n"
    "time.sleep(600)\n"
)


def run(code: str, folder: Path, time_limit: float = 60, stall_limit: float = 60, progress: bool = False) -> None:
    with ProcessTree([sys.executable, "-c", code], dict(os.environ), folder, folder / "logs" / "log") as process:
        process.wait(lambda: progress, time_limit, stall_limit)


def test_success_and_log(tmp_path: Path) -> None:
    run("import sys; print('one', flush=True); print('two', file=sys.stderr)", tmp_path)
    assert (tmp_path / "logs" / "log").read_text().split() == ["one", "two"]


@pytest.mark.parametrize(
    ("code", "message"),
    [("raise SystemExit(7)", "exit code 7"), ("import os; os.kill(os.getpid(), 9)", "SIGKILL")],
)
def test_failure(code: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ProcessFailed, match=message):
        run(code, tmp_path)


def test_a_killed_command_leaves_no_child_behind(tmp_path: Path) -> None:
    child = "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    record = "import os, pathlib; pathlib.Path('pid').write_text(str(child.pid)); os.kill(os.getpid(), 9)"
    with pytest.raises(ProcessFailed, match="SIGKILL"):
        run(f"{child}\n{record}", tmp_path)
    pid, deadline = int((tmp_path / "pid").read_text()), time.monotonic() + 30
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not runs(pid)


def runs(pid: int) -> bool:
    """Whether there is such a process that is no zombie."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_stall_limit(tmp_path: Path) -> None:
    with pytest.raises(ProcessFailed, match="no progress"):
        run("import time; time.sleep(600)", tmp_path, stall_limit=1.5)


def test_time_limit_holds_while_there_is_progress(tmp_path: Path) -> None:
    with pytest.raises(ProcessFailed, match="longer than"):
        run("import time; time.sleep(600)", tmp_path, time_limit=2, stall_limit=1, progress=True)


@pytest.mark.timeout(120)
def test_a_descendant_in_another_session_that_ignores_sigterm_is_ended(tmp_path: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(ProcessFailed):
        run(GRANDCHILD, tmp_path, time_limit=4)
    pid = int((tmp_path / "pid").read_text())
    assert not runs(pid)
    assert time.monotonic() - begin < 60


def test_peak_memory_counts_all_processes(tmp_path: Path) -> None:
    hold = "import time; block = bytearray(150_000_000); time.sleep(8)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    with ProcessTree([sys.executable, "-c", code], dict(os.environ), tmp_path, tmp_path / "log") as process:
        process.wait(lambda: False, 60, 60)
    assert 150e6 < process.peak_memory < 400e6
