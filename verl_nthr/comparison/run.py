"""All runs of a comparison, side by side in processes; what a killed comparison finished is not done again."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path
from typing import Any

from verl_nthr.comparison.settings import TASKS, Settings
from verl_nthr.demo.arithmetic import draw_splits
from verl_nthr.demo.toy import HELD_OUT, UNSEEN, Toy, write_model
from verl_nthr.errors import InputError
from verl_nthr.files import write_whole


def run_all(all_settings: list[Settings], out: Path, jobs: int, report: Callable[[str], None]) -> list[dict[str, Any]]:
    """The results of all runs, in the order of ``all_settings``.

    Args:
        all_settings: the runs.
        out: folder with a file for each run; runs that it holds with the same settings are read.
        jobs: processes, each with one thread.
        report: called with a line of text for each run that is finished.

    Returns:
        For each run ``settings``, ``seconds`` and what :meth:`verl_nthr.comparison.trainer.Run.train` returns.

    Raises:
        InputError: ``out`` holds a run of the same name with other settings.
        InputError: a toy did not learn its task.
    """
    (out / "runs").mkdir(parents=True, exist_ok=True)
    missing = [settings for settings in all_settings if _read(settings, out) is None]
    toys_wanted = dict.fromkeys((settings.task, settings.seed) for settings in missing)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_one_thread) as pool:
        toys = {pool.submit(prepare, task, seed, out): (task, seed) for task, seed in toys_wanted}
        runs: dict[Future[None], Settings] = {}
        while toys or runs:
            for done in wait([*toys, *runs], return_when=FIRST_COMPLETED).done:
                done.result()
                if done in runs:
                    settings = runs.pop(done)
                    report(f"{settings.task}, seed {settings.seed}: {settings.method} trained")
                    continue
                task, seed = toys.pop(done)
                report(f"{task}, seed {seed}: warmed up")
                mine = [settings for settings in missing if (settings.task, settings.seed) == (task, seed)]
                runs |= {pool.submit(train, settings, out): settings for settings in mine}
    results = [_read(settings, out) for settings in all_settings]
    return [result for result in results if result is not None]


def prepare(task: str, seed: int, out: Path) -> Path:
    """The warmed-up model that all methods of a seed start from, the same as the demo's of that seed."""
    folder = out / "toys" / f"{task}-seed{seed}"
    if not folder.is_dir():
        partial = folder.with_name(folder.name + ".partial")
        splits = draw_splits(TASKS[task], seed, UNSEEN, HELD_OUT, train=0)
        write_model(Toy(model=partial, train=partial, unseen=partial), splits, seed, lambda _: None)
        partial.rename(folder)
    return folder


def train(settings: Settings, out: Path) -> None:
    """Train once and write the result."""
    from verl_nthr.comparison.trainer import Run

    begin = time.monotonic()
    prompts = settings.steps * settings.prompts
    splits = draw_splits(TASKS[settings.task], settings.seed, UNSEEN, HELD_OUT, prompts)
    result = Run(settings, prepare(settings.task, settings.seed, out), splits).train()
    document = {"settings": asdict(settings), "seconds": round(time.monotonic() - begin, 1), **result}
    write_whole(_path(settings, out), json.dumps(document, indent=1, allow_nan=False).encode())


def _read(settings: Settings, out: Path) -> dict[str, Any] | None:
    path = _path(settings, out)
    if not path.is_file():
        return None
    try:
        result = json.loads(path.read_bytes())
        theirs = result["settings"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is not a result of a run ({error!r}); remove it") from error
    if theirs != asdict(settings):
        differ = ", ".join(
            f"{name}={theirs.get(name)!r}" for name, value in asdict(settings).items() if theirs.get(name) != value
        )
        raise InputError(f"{path} was made with {differ}; pass another --out, or remove it")
    return result


def _path(settings: Settings, out: Path) -> Path:
    return out / "runs" / f"{settings.task}-{settings.method}-seed{settings.seed}.json"


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
