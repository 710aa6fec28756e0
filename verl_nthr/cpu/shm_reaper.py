"""Clean-up after a run whose first process was killed.

The reaper waits for the end of a pipe that only the run's first process holds open. It has a session of its own, so
that signals to the run's process group do not reach it. Python's own trackers of shared memory are not enough: Ray
kills them with the other children of its workers.
"""

import os
import subprocess
import sys
from pathlib import Path

import psutil

from verl_nthr.cpu.processes import SESSION_VARIABLE
from verl_nthr.cpu.shared_memory import close_session, session_file


def start() -> None:
    """Start the reaper of the run that this process began, if it began one."""
    session = os.environ.get(SESSION_VARIABLE)
    if session is None or Path(session) != session_file(psutil.Process()):
        return
    reading, _ = os.pipe()  # the other end closes with this process
    subprocess.Popen(
        [sys.executable, "-m", "verl_nthr.cpu.shm_reaper", session],
        stdin=reading,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(reading)


if __name__ == "__main__":
    sys.stdin.read()
    close_session(Path(sys.argv[1]))
