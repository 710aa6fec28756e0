"""Stock runs of two workers in which something fails in the middle of a step, and what is left of them."""

from __future__ import annotations

import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import psutil

from tests.cpu.leftovers import MARK, end_left_over, members, shared_memory_of
from tests.integration.runs import logged_steps, nthr, training
from tests.toy import make_toy

START_SECONDS, END_SECONDS, LAST_SECONDS = 500, 120, 30
"""Limits: until a run fails, from then until its driver has ended, and from then until its last process has."""

STEPS = 1000


@dataclass
class Failing:
    """A run that is going to fail."""

    driver: subprocess.Popen[bytes]
    out: Path
    mark: str
    """By which its processes are found."""
    mapped: set[str] = field(default_factory=set)
    """Files of /dev/shm that its processes have been seen to use."""

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so.

        Raises:
            AssertionError: the driver has ended, or :data:`START_SECONDS` have passed.
        """
        begin = time.monotonic()
        while not condition():
            assert self.driver.poll() is None, self.log[-4000:]
            assert time.monotonic() < begin + START_SECONDS, self.log[-4000:]
            time.sleep(0.2)
        self.look()

    def look(self) -> None:
        """Remember the shared memory that is in use."""
        self.mapped |= {path for member in members(self.mark) for path in shared_memory_of(member.pid)}

    @property
    def log(self) -> str:
        return (self.out / "train.log").read_text(errors="replace")

    def titled(self, title: str) -> psutil.Process:
        """One of the run's processes whose command line begins so."""
        return next(member for member in members(self.mark) if "".join(member.cmdline()[:1]).startswith(title))


@dataclass(frozen=True)
class Ended:
    """How a run ended, and what it left."""

    code: int
    seconds: float
    """From the failure to the end of the driver."""
    seconds_of_all: float
    """From the failure to the end of the last process."""
    processes: list[str]
    """Command lines of the processes that are left."""
    shared_memory: list[str]
    """Files of /dev/shm that the run used, and that are left."""
    log: str


@contextmanager
def started(out: Path, environ: Mapping[str, str] = MappingProxyType({})) -> Iterator[Failing]:
    """A run whose files go into the empty folder ``out``; left early, all its processes are killed."""
    mark = uuid.uuid4().hex
    settings = [*nthr(out), "trainer.save_freq=-1"]
    with training(
        make_toy(out / "toy"), out, settings, workers=2, steps=STEPS, environ={**environ, MARK: mark}
    ) as driver:
        try:
            yield Failing(driver, out, mark)
        finally:
            for member in members(mark):
                member.kill()


def kill(out: Path, title: str, number: signal.Signals) -> Ended:
    """Train until the first step is done, then send a signal to the process of that title, "driver" for the driver."""
    with started(out) as run:
        run.wait_for(lambda: bool(logged_steps(out)))
        time.sleep(1)
        victim = run.driver if title == "driver" else run.titled(title)
        victim.send_signal(number)
        return ended(run)


def ended(run: Failing) -> Ended:
    """Wait for the end of a run that has just failed.

    Raises:
        AssertionError: it has not ended after :data:`END_SECONDS`.
    """
    failed = time.monotonic()
    while run.driver.poll() is None and time.monotonic() < failed + END_SECONDS:
        run.look()
        time.sleep(0.2)
    seconds = time.monotonic() - failed
    assert run.driver.poll() is not None, f"still there {seconds:.0f} s after the failure\n{run.log[-4000:]}"
    processes = end_left_over(run.mark, LAST_SECONDS)
    return Ended(
        code=run.driver.returncode,
        seconds=seconds,
        seconds_of_all=time.monotonic() - failed,
        processes=processes,
        shared_memory=sorted(path for path in run.mapped if Path(path).exists()),
        log=run.log,
    )
