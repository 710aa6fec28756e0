"""The lines of a training log that tell why it failed."""

from __future__ import annotations

import re
from pathlib import Path

TAIL_BYTES = 400_000
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
SOURCE = re.compile(r"^\((?:[\w.:]+ )?pid=\d+[^)]*\)\s?")
NOISE = re.compile(r"WARNING|Warning|INFO|DEBUG|\(raylet\)|Training Progress|step:\d+ - |requires torchvision|it/s\]")
ERROR = re.compile(r"^\s*(?:\w+\.)*\w*(?:Error|Exception|Interrupt)\b.*:")


def last_lines(log: Path, limit: int = 20) -> list[str]:
    """The last lines without colours, Ray's prefixes, warnings and progress bars.

    If they hold no error message, the last one of the log comes first.

    Args:
        log: the file; may be missing.
        limit: number of lines at most.
    """
    if not log.is_file():
        return []
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        text = file.read().decode("utf-8", errors="replace")
    lines = [line for line in map(_plain, re.split(r"[\r\n]+", text)) if line.strip() and not NOISE.search(line)]
    lines = [line for index, line in enumerate(lines) if index == 0 or line != lines[index - 1]]
    tail = lines[-limit:]
    if not any(map(ERROR.match, tail)):
        errors = [line for line in lines if ERROR.match(line)]
        tail = [*errors[-1:], *tail[len(errors[-1:]) :]]
    return tail


def _plain(line: str) -> str:
    return SOURCE.sub("", ANSI.sub("", line)).rstrip()
