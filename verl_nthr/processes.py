"""Runs a command in a process group of its own, bounded in time, and ends all of it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import psutil

POLL_SECONDS = 0.5
SURVEY_SECONDS = 5.0
TERMINATE_SECONDS = 20.0
KILL_SECONDS = 5.0


class ProcessFailed(RuntimeError):
    """The command ended with an error or reached a limit."""


class ProcessTree:
    """A subprocess and all its descendants; leaving the context ends whatever of them still runs."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path, log: Path) -> None:
        self._command = command
        self._environment = environment
        self._folder = folder
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._family: dict[int, psutil.Process] = {}
        self.peak_memory = 0
        """Bytes of memory of all processes together (shared pages counted once), the highest seen."""

    def __enter__(self) -> ProcessTree:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def wait(self, progress: Callable[[], bool], time_limit: float, stall_limit: float) -> None:
        """Wait until the subprocess has ended.

        Args:
            progress: called twice a second; returns whether something new has happened.
            time_limit: seconds that the whole may take.
            stall_limit: seconds without something new.

        Raises:
            ProcessFailed: it ended with an error, or a limit was reached (it still runs then).
        """
        process = self._started()
        begin = last = time.monotonic()
        surveyed = 0.0
        while (code := process.poll()) is None:
            if progress():
                last = time.monotonic()
            now = time.monotonic()
            if now - begin > time_limit:
                raise ProcessFailed(f"it took longer than {time_limit / 60:g} minutes")
            if now - last > stall_limit:
                raise ProcessFailed(f"it made no progress for {stall_limit / 60:g} minutes")
            if now - surveyed > SURVEY_SECONDS:
                self._survey()
                surveyed = now
            time.sleep(POLL_SECONDS)
        progress()
        if code != 0:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            raise ProcessFailed(f"it {how}")

    def end(self) -> None:
        """End the process group and every descendant seen: SIGTERM, and SIGKILL for what is left."""
        process = self._started()
        self._survey()
        _signal_group(process.pid, signal.SIGTERM)
        try:
            process.wait(TERMINATE_SECONDS)
        except subprocess.TimeoutExpired:
            _signal_group(process.pid, signal.SIGKILL)
            process.wait()
        survivors = [member for member in self._family.values() if member.is_running()]
        _, survivors = psutil.wait_procs(survivors, KILL_SECONDS)
        for member in survivors:
            try:
                member.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(survivors, KILL_SECONDS)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("nothing has been started: use it as a context manager")
        return self._process

    def _survey(self) -> None:
        """Remember the descendants, which may outlive their parents, and measure their memory."""
        try:
            root = psutil.Process(self._started().pid)
            family = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        self._family.update((member.pid, member) for member in family)
        self.peak_memory = max(self.peak_memory, sum(_memory(member) for member in family))


def _memory(process: psutil.Process) -> int:
    """Bytes of a process, its shared pages divided by those who share them; 0 if it has gone or is another user's."""
    try:
        memory = process.memory_full_info()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0
    return getattr(memory, "pss", memory.uss)


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return
