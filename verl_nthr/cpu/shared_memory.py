"""Removal of the shared memory that a run leaves behind, and of nothing else.

vLLM's message queues and verl's weight transfer use named shared memory. Their processes are often killed before they
remove it. Each process of a run records the segments that it creates in the run's own file, and they are removed when
the process that started the run ends; what a killed run left is removed at the start of the next one.
"""

import contextlib
import os
import tempfile
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import psutil

from verl_nthr.cpu.processes import SESSION_VARIABLE, end

SHARED_MEMORY = Path("/dev/shm")
GRACE_SECONDS = 5.0
AFTER_MULTIPROCESSING = -100


def records_folder() -> Path:
    """Name the folder with one file of segment names per run, private to this user."""
    return Path(tempfile.gettempdir()) / f"verl-cpu-{os.getuid()}"


def session_file(process: psutil.Process) -> Path:
    """Name the file of the run that ``process`` started; its start time tells it from a later one of the same pid."""
    return records_folder() / f"{process.pid}-{int(process.create_time() * 1000)}.txt"


def open_session() -> None:
    """Join the run in :data:`SESSION_VARIABLE`, or begin one that ends with this process.

    The process that begins one also removes what runs whose first process is gone left behind.
    """
    if SESSION_VARIABLE in os.environ or not SHARED_MEMORY.is_dir():
        return
    own = session_file(psutil.Process())
    os.environ[SESSION_VARIABLE] = str(own)
    remove_stale()
    Finalize(None, close_session, args=(own,), exitpriority=AFTER_MULTIPROCESSING)


def record(name: str) -> None:
    """Record a segment that this process has just created."""
    session = os.environ.get(SESSION_VARIABLE)
    if session is None or not (SHARED_MEMORY / name).exists():
        return
    Path(session).parent.mkdir(mode=0o700, exist_ok=True)
    with Path(session).open("a", encoding="utf-8") as file:
        file.write(f"{name}\n")


def close_session(session: Path) -> None:
    """End the run's other processes, then remove its segments.

    Runs at the end of the process that began the run, after Ray's own end (whose exit handler is younger than
    multiprocessing's) and after multiprocessing has removed what it can; never in a forked child.
    """
    end(str(session), GRACE_SECONDS)
    remove(session)


def remove_stale() -> list[str]:
    """Remove the segments of runs whose first process is gone, unless some process still uses them."""
    removed = []
    for session in sorted(records_folder().glob("*.txt")):
        if not _owner_alive(session) and not used(names_in(session)):
            removed += remove(session)
    return removed


def remove(session: Path) -> list[str]:
    """Remove the segments named in ``session`` that still exist and are this user's, then the file itself."""
    removed = []
    for name in names_in(session):
        segment = SHARED_MEMORY / name
        with contextlib.suppress(FileNotFoundError):
            if segment.stat(follow_symlinks=False).st_uid == os.getuid():
                segment.unlink()
                removed.append(name)
    session.unlink(missing_ok=True)
    return removed


def names_in(session: Path) -> set[str]:
    """Read the names of segments in a run's file, without anything that is not a plain file name."""
    try:
        lines = session.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return set()
    return {line for line in lines if line and "/" not in line and line not in (".", "..")}


def used(names: set[str]) -> set[str]:
    """Find those of ``names`` that another process of this user has mapped."""
    paths = {f"{SHARED_MEMORY}/{name}": name for name in names}
    found = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        if maps.parent.name == str(os.getpid()):
            continue
        try:
            lines = maps.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        found |= {paths[path] for line in lines if (path := line.split(maxsplit=5)[-1]) in paths}
    return found


def _owner_alive(session: Path) -> bool:
    pid = session.name.partition("-")[0]
    if not pid.isdecimal() or not psutil.pid_exists(int(pid)):
        return False
    try:
        return session_file(psutil.Process(int(pid))) == session
    except psutil.Error:
        return False


def around_create(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Around ``multiprocessing.shared_memory.SharedMemory.__init__``: record what is created."""
    wrapped(*args, **kwargs)
    if kwargs.get("create", args[1] if len(args) > 1 else False):
        record(instance.name)


def around_create_semaphore(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Around ``multiprocessing.synchronize.SemLock.__init__``: record named semaphores."""
    wrapped(*args, **kwargs)
    name = instance._semlock.name
    if name is not None:
        record(f"sem.{name.lstrip('/')}")
