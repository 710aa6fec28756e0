"""The whole demo: toy, warm-up, training, and what there is to look at afterwards."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

from verl_nthr.demo.display import TrainingDisplay, warm_up_display
from verl_nthr.demo.logs import last_lines
from verl_nthr.demo.metrics import MetricsTail
from verl_nthr.demo.settings import PROMPTS_PER_STEP, Settings, training_command, training_environment
from verl_nthr.demo.summary import GIGABYTE, Summary, accuracies, render_summary, seconds_by_phase, write_summary
from verl_nthr.demo.toy import Toy, write_data, write_model
from verl_nthr.processes import ProcessFailed, ProcessTree
from verl_nthr.supported import versions
from verl_nthr.text import on_one_line

NEEDED = ("verl", "vllm", "ray", "transformers", "pandas", "pyarrow", "matplotlib", "jinja2")
WRITTEN_FILES = ("metrics.jsonl", "summary.json", "reward.png", "tokens.html")
WRITTEN_FOLDERS = ("toy", "logs", "tokens")


class DemoError(RuntimeError):
    """The demo cannot go on; the message says why."""


def run_demo(settings: Settings, console: Console) -> Summary:
    """Run the demo and write everything into ``settings.out``; what an earlier run wrote there is replaced.

    Raises:
        DemoError: a package is missing, or verl failed or was ended by a limit.
        InputError: the warm-up did not reach the accuracy wanted, or verl wrote something unexpected.
    """
    begin = time.monotonic()
    check_packages()
    clear(settings.out)
    console.print(f"[bold]verl-nthr demo[/bold]: {settings.estimator}, seed {settings.seed}, {settings.steps} steps")
    toy, splits = write_data(settings.out / "toy", settings.seed, settings.steps * PROMPTS_PER_STEP)
    warm_up_begin = time.monotonic()
    with warm_up_display(console) as report:
        warmed = write_model(toy, splits, settings.seed, report)
    console.print(f"warmed up to a greedy accuracy of {warmed.accuracy:.0%} in {warmed.step} steps", highlight=False)
    training_begin = time.monotonic()
    display, peak_memory = train(settings, toy, console)
    before, after = accuracies(display.steps)
    files = write_reports(settings, display)
    started, first_line = display.started or 0.0, display.first_line or 0.0
    measured = {
        "set-up": warm_up_begin - begin,
        "warm-up": training_begin - warm_up_begin,
        "start-up": started,
        "validation": first_line - started,
    }
    summary = Summary(
        estimator=settings.estimator,
        seed=settings.seed,
        steps=settings.steps,
        workers=settings.workers,
        accuracy_before=before,
        accuracy_after=after,
        seconds=seconds_by_phase(measured, time.monotonic() - begin, display.steps),
        peak_memory_gb=round(peak_memory / GIGABYTE, 2),
        versions=versions(),
    )
    write_summary(summary, settings.out / "summary.json")
    console.print()
    console.print(render_summary(summary, {**files, "summary": str(settings.out / "summary.json")}))
    return summary


def check_packages() -> None:
    """Raise :class:`DemoError` if a package that the demo needs is not installed."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise DemoError(f"not installed: {', '.join(missing)}. Install everything with `bash scripts/setup.sh`")


def clear(out: Path) -> None:
    """Make the folder, or remove from it what an earlier demo wrote; other files stay."""
    out.mkdir(parents=True, exist_ok=True)
    for name in WRITTEN_FILES:
        (out / name).unlink(missing_ok=True)
    for name in WRITTEN_FOLDERS:
        shutil.rmtree(out / name, ignore_errors=True)


def train(settings: Settings, toy: Toy, console: Console) -> tuple[TrainingDisplay, int]:
    """Train with stock verl in a subprocess; returns the display, which has the steps, and the peak memory in bytes.

    Raises:
        DemoError: verl failed or was ended by a limit; the message has the log's last lines and its path.
        InputError: verl's metrics cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="nthr-", ignore_cleanup_errors=True) as ray_dir:
        command = training_command(settings, toy, Path(ray_dir))
        environment = training_environment(settings, Path(ray_dir))
        training = ProcessTree(command, environment, settings.out, settings.log)
        display = TrainingDisplay(console, MetricsTail(settings.metrics), settings.steps)
        console.print(Text(f"training with verl; its log is {on_one_line(str(settings.log))}"), soft_wrap=True)
        try:
            with training, display.bar:
                training.wait(display.progress, settings.time_limit, settings.stall_limit)
        except ProcessFailed as error:
            tail = "\n".join(f"  {line}" for line in last_lines(settings.log))
            raise DemoError(f"the training failed: {error}. The last lines of {settings.log}:\n{tail}") from error
    return display, training.peak_memory


def write_reports(settings: Settings, display: TrainingDisplay) -> dict[str, str]:
    """Write the picture and, if tokens were dumped, the page; returns what was written and where.

    Raises:
        InputError: a token dump cannot be read.
        DemoError: there is none although the estimator writes them.
    """
    from verl_nthr.demo.figure import write_figure
    from verl_nthr.heatmap.page import write_heatmap
    from verl_nthr.heatmap.token_dump import dumped_steps

    title = f"{settings.estimator} on worked additions, seed {settings.seed}"
    figure, page = settings.out / "reward.png", settings.out / "tokens.html"
    write_figure(display.steps, figure, title)
    if settings.tokens is None:
        tokens = f"none, since {settings.estimator} does not score tokens"
    elif dumps := dumped_steps(settings.tokens):
        write_heatmap(dumps.values(), page, f"Token scores: {title}")
        tokens = str(page)
    else:
        raise DemoError(f"{settings.estimator} wrote no token dump into {settings.tokens}; see {settings.log}")
    return {"reward curve": str(figure), "tokens by score": tokens, "metrics": str(settings.metrics)}
