"""What a run leaves behind: processes, found by a variable of their environment, and files of /dev/shm."""

import time
from pathlib import Path

import psutil

MARK = "CPU_TEST_RUN"
"""The variable; a run sets it to something that no other has."""


def shared_memory_of(pid: int) -> set[str]:
    """Files of /dev/shm that a process has mapped and that still have their names; none if it has gone."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except OSError:
        return set()
    paths = {line.split(maxsplit=5)[-1] for line in lines if "/dev/shm/" in line}
    return {path for path in paths if not path.endswith("(deleted)")}


def members(mark: str) -> list[psutil.Process]:
    """The processes that inherited the run's mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                found.append(process)
        except psutil.Error:
            continue
    return found


def end_left_over(mark: str, seconds: float) -> list[str]:
    """Command lines of the processes that are still there after so many seconds; they are killed."""
    end = time.monotonic() + seconds
    while members(mark) and time.monotonic() < end:
        time.sleep(0.5)
    left = members(mark)
    lines = [" ".join(process.cmdline()) for process in left]
    for process in left:
        process.kill()
    return lines
