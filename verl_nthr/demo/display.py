"""Shows a person how the warm-up and the training go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from verl_nthr.demo.metrics import STEP_SECONDS, MetricsTail, Step
from verl_nthr.demo.warm_up import Progress as WarmUpProgress

USUAL_WARM_UP_STEPS = 220


@contextmanager
def warm_up_display(console: Console) -> Iterator[Callable[[WarmUpProgress], None]]:
    """A bar towards the usual number of steps, with the loss and the accuracy; gives what takes each evaluation."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[state]}"), console=console) as bar:
        task = bar.add_task("warm-up", total=USUAL_WARM_UP_STEPS, state="")

        def report(progress: WarmUpProgress) -> None:
            state = f"step {progress.step}, loss {progress.loss:.3f}, greedy accuracy {progress.accuracy:.0%}"
            bar.update(task, completed=min(progress.step, USUAL_WARM_UP_STEPS - 1), state=state)

        yield report
        bar.update(task, total=1, completed=1)


class TrainingDisplay:
    """A bar over the training steps and a line for each."""

    def __init__(self, console: Console, tail: MetricsTail, total_steps: int) -> None:
        self.steps: list[Step] = []
        """The lines of the metrics read so far."""
        self.started: float | None = None
        """Seconds from the beginning until verl had started."""
        self.first_line: float | None = None
        """Seconds from the beginning until the validation before the training was done."""
        self._console = console
        self._tail = tail
        self._total = total_steps
        self._begin = time.monotonic()
        self.bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self.bar.add_task("starting Ray, vLLM and the trainer", total=total_steps)

    def progress(self) -> bool:
        """Show what verl has logged since the last call; whether there was something.

        Raises:
            InputError: verl's metrics cannot be read.
        """
        elapsed = time.monotonic() - self._begin
        opened = self.started is None and self._tail.exists
        if opened:
            self.started = elapsed
            self.bar.update(self._task, description="validating on unseen prompts")
        new = self._tail.read_new()
        for step in new:
            self.first_line = elapsed if self.first_line is None else self.first_line
            self._console.print(step_line(step, self._total), highlight=False)
            self.bar.update(self._task, completed=step.number, description=self._description(step))
        self.steps += new
        return opened or bool(new)

    def _description(self, step: Step) -> str:
        if step.number < self._total - 1:
            return "training"
        return "last step, then validation" if step.number < self._total else "shutting down"


def step_line(step: Step, total_steps: int) -> str:
    """One line about a step: reward, accuracy if it validated, eased tokens if NTHR scored, seconds."""
    parts = [f"step {step.number:>{len(str(total_steps))}}/{total_steps}"]
    if step.reward is not None:
        parts.append(f"reward {step.reward:.3f}")
    if step.eased is not None:
        parts.append(f"tokens eased {step.eased:.1%}")
    if STEP_SECONDS in step.data:
        parts.append(f"{step.data[STEP_SECONDS]:.1f} s")
    if step.accuracy is not None:
        parts.append(f"greedy accuracy on unseen prompts {step.accuracy:.1%}")
    return "  ".join(parts)
