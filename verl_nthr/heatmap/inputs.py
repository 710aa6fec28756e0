"""Finds and reads the dumped steps that were asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from verl_nthr.errors import InputError
from verl_nthr.heatmap.token_dump import Group, dumped_steps, read_step


def find_dumps(paths: Collection[Path], steps: Collection[range] = ()) -> list[Path]:
    """The files of token dumps: those named, and those of the folders named, of these by ascending step.

    Args:
        paths: files, or folders with ``<step>.jsonl``.
        steps: which steps of the folders; empty for all.

    Raises:
        InputError: a path does not exist, or a folder has no dump of the steps.
    """
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            if not path.is_file():
                raise InputError(f"{path} does not exist: pass the folder of a token dump, or files of it")
            files.append(path)
            continue
        dumped = dumped_steps(path)
        if not dumped:
            raise InputError(
                f"{path} has no <step>.jsonl: pass the folder that algorithm.nthr.token_dump_dir was set to in the "
                "training"
            )
        chosen = [file for step, file in dumped.items() if not steps or any(step in wanted for wanted in steps)]
        if not chosen:
            raise InputError(f"{path} has none of these steps; it has {min(dumped)} to {max(dumped)}")
        files += chosen
    return files


def read_steps(files: Collection[Path]) -> Iterator[tuple[int, list[Group]]]:
    """Each file's step and groups, one file at a time.

    Raises:
        InputError: a file is not a token dump or is empty, or two are of the same step.
        OSError: a file cannot be read.
    """
    seen: dict[int, Path] = {}
    for file in files:
        groups = read_step(file)
        if not groups:
            raise InputError(f"{file} is empty: the training was ended while it wrote, or it is not a token dump")
        step = groups[0].responses[0].step
        if step in seen:
            raise InputError(f"{seen[step]} and {file} are both of step {step}: pass the dumps of one run")
        seen[step] = file
        yield step, groups
