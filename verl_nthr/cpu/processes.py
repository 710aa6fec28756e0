"""End of the processes that a run leaves behind, and of no others."""

import logging
import os

import psutil

SESSION_VARIABLE = "VERL_CPU_SESSION"
"""Variable that names the run in the environment of each of its processes."""

TITLES = ("ray::", "VLLM::")
"""First words of the command lines of Ray's workers and vLLM's processes."""

logger = logging.getLogger(__name__)


def members(session: str) -> list[psutil.Process]:
    """Find the Ray workers and vLLM processes of the run ``session``, without this process."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.environ().get(SESSION_VARIABLE) != session:
                continue
            if "".join(process.cmdline()[:1]).startswith(TITLES):
                found.append(process)
        except psutil.Error:
            continue
    return found


def end(session: str, seconds: float) -> list[str]:
    """Wait for the run's processes to end by themselves, at most ``seconds``, then kill what is left.

    A Ray worker should end when Ray does, but may hang on threads that talk to processes which are gone.

    Returns:
        The titles of the processes that were killed.
    """
    _, left = psutil.wait_procs(members(session), timeout=seconds)
    killed = []
    for process in left:
        try:
            title = process.cmdline()[0].strip()
            process.kill()
        except (psutil.Error, IndexError):
            continue
        killed.append(title)
    psutil.wait_procs(left, timeout=seconds)
    if killed:
        logger.warning("ended %d processes that outlived the run: %s", len(killed), ", ".join(killed))
    return killed
