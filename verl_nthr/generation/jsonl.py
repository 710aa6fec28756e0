"""JSON lines that are appended one by one, and survive a kill."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from verl_nthr.errors import InputError


def append_line(path: Path, entry: dict[str, Any]) -> None:
    """Append ``entry`` as one line of strict JSON."""
    line = json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n"
    # a lone surrogate, which UTF-8 does not have, is written as JSON's own escape
    with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(line)


def recover_lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a file of our own; what a kill left of an unfinished last line is cut off the file.

    Raises:
        InputError: a complete line is no JSON object.
    """
    if not path.is_file():
        return []
    content = path.read_bytes()
    complete = content[: content.rfind(b"\n") + 1]
    entries = [
        parse_line(line, f"{path}:{number}") for number, line in enumerate(complete.splitlines(), start=1) if line
    ]
    if len(complete) < len(content):
        os.truncate(path, len(complete))
    return entries


def parse_line(line: str | bytes, where: str) -> dict[str, Any]:
    """The JSON object in ``line``.

    Raises:
        InputError: it is something else; the message begins with ``where``.
    """
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is no JSON ({error}); was the file cut off?") from error
    if not isinstance(entry, dict):
        raise InputError(f"{where} is no JSON object")
    return entry
