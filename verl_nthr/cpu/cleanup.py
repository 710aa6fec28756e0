"""Clean-up after a run: its processes, and its files in /dev/shm. Nothing else is touched.

vLLM's message queues and verl's weight transfer use named shared memory, and their processes are often killed before
they remove it. So each process of a run records the segments that it creates in the run's own file. They are removed

* when the process that began the run ends;
* if that process is killed, by the reaper, ``python -m verl_nthr.cpu.cleanup``. Python's own trackers of shared memory
  are not enough: Ray kills them with the other children of its workers;
* if the reaper is killed too, at the start of the next run.
"""

import contextlib
import logging
import os
import subprocess
import sys
import tempfile
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import psutil

SESSION_VARIABLE = "VERL_CPU_SESSION"
"""Variable that names the run, by its file, in the environment of each of its processes."""

TITLES = ("ray::", "VLLM::")
"""First words of the command lines of Ray's workers and vLLM's processes."""

SHARED_MEMORY = Path("/dev/shm")
GRACE_SECONDS = 5.0
AFTER_MULTIPROCESSING = -100

logger = logging.getLogger(__name__)


def session_file(process: psutil.Process) -> Path:
    """Name the file of the run that ``process`` began; its start time tells it from a later process of the same pid."""
    return _records_folder() / f"{process.pid}-{int(process.create_time() * 1000)}.txt"


def _records_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"verl-cpu-{os.getuid()}"


def open_session() -> None:
    """Join the run in :data:`SESSION_VARIABLE`, or begin one that ends with this process."""
    if SESSION_VARIABLE in os.environ or not SHARED_MEMORY.is_dir():
        return
    own = session_file(psutil.Process())
    os.environ[SESSION_VARIABLE] = str(own)
    remove_stale()
    Finalize(None, close_session, args=(own,), exitpriority=AFTER_MULTIPROCESSING)


def start_reaper() -> None:
    """Start the reaper of the run that this process began, if it began one.

    The reaper waits for the end of a pipe that only this process holds open. It has a session of its own, so that
    signals to the run's process group do not reach it.
    """
    session = os.environ.get(SESSION_VARIABLE)
    if session != str(session_file(psutil.Process())):
        return
    reading, _ = os.pipe()  # the other end closes with this process
    subprocess.Popen(
        [sys.executable, "-m", "verl_nthr.cpu.cleanup", session],
        stdin=reading,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(reading)


def close_session(session: Path) -> None:
    """End the run's other processes, then remove its segments.

    Runs at the end of the process that began the run, after Ray's own end (whose exit handler is younger than
    multiprocessing's) and after multiprocessing has removed what it can; never in a forked child.
    """
    end_processes(str(session), GRACE_SECONDS)
    remove_segments(session)


def processes_of(session: str) -> list[psutil.Process]:
    """Find the Ray workers and vLLM processes of the run ``session``, without this process."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(SESSION_VARIABLE) == session:
                found += [process] if "".join(process.cmdline()[:1]).startswith(TITLES) else []
    return found


def end_processes(session: str, seconds: float) -> list[str]:
    """Wait for the run's processes to end by themselves, at most ``seconds``, then kill what is left.

    A Ray worker should end when Ray does, but may hang on threads that talk to processes which are gone.

    Returns:
        The titles of the processes that were killed.
    """
    _, left = psutil.wait_procs(processes_of(session), timeout=seconds)
    killed = []
    for process in left:
        with contextlib.suppress(psutil.Error, IndexError):
            title = process.cmdline()[0].strip()
            process.kill()
            killed.append(title)
    psutil.wait_procs(left, timeout=seconds)
    if killed:
        logger.warning("ended %d processes that outlived the run: %s", len(killed), ", ".join(killed))
    return killed


def record(name: str) -> None:
    """Record a segment that this process has just created."""
    session = os.environ.get(SESSION_VARIABLE)
    if session is None or not (SHARED_MEMORY / name).exists():
        return
    Path(session).parent.mkdir(mode=0o700, exist_ok=True)
    with Path(session).open("a", encoding="utf-8") as file:
        file.write(f"{name}\n")


def remove_stale() -> None:
    """Remove the segments of runs whose first process is gone, unless another process still uses them."""
    for session in sorted(_records_folder().glob("*.txt")):
        if not _owner_is_alive(session) and not any(map(_is_mapped, _paths_in(session))):
            remove_segments(session)


def remove_segments(session: Path) -> None:
    """Remove the segments recorded in ``session`` that still exist and are this user's, then the file itself."""
    for path in _paths_in(session):
        with contextlib.suppress(FileNotFoundError):
            if os.lstat(path).st_uid == os.getuid():
                os.unlink(path)
    session.unlink(missing_ok=True)


def _paths_in(session: Path) -> set[str]:
    """Read the segments of a run's file, without anything that is not a plain file name."""
    try:
        names = session.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return set()
    return {f"{SHARED_MEMORY}/{name}" for name in names if name and "/" not in name and name not in (".", "..")}


def _is_mapped(path: str) -> bool:
    """Tell whether another process of this user has mapped a file."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and any(each.path == path for each in process.memory_maps()):
                return True
    return False


def _owner_is_alive(session: Path) -> bool:
    try:
        return session_file(psutil.Process(int(session.name.partition("-")[0]))) == session
    except (ValueError, psutil.Error):
        return False


def around_ray_init(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around ``ray.init`` (ray 2.60.0): a run with Ray has processes that may outlive it."""
    start_reaper()
    return wrapped(*args, **kwargs)


def around_shared_memory(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Around ``multiprocessing.shared_memory.SharedMemory.__init__``: record what is created."""
    wrapped(*args, **kwargs)
    if kwargs.get("create", args[1] if len(args) > 1 else False):
        record(instance.name)


def around_semaphore(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Around ``multiprocessing.synchronize.SemLock.__init__``: record named semaphores."""
    wrapped(*args, **kwargs)
    name = instance._semlock.name
    if name is not None:
        record(f"sem.{name.lstrip('/')}")


if __name__ == "__main__":
    sys.stdin.read()
    close_session(Path(sys.argv[1]))
