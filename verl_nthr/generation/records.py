"""A file of records that survives a kill: a line on what they were made with, then a line per record."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Generic

from verl_nthr.errors import InputError
from verl_nthr.json_lines import AnyRecord, append_line, check_record, recover_lines
from verl_nthr.text import quoted


class Records(Generic[AnyRecord]):
    """Records that are appended one by one, and kept only for a run with the same settings."""

    def __init__(self, path: Path, kind: type[AnyRecord], made_with: dict[str, Any]) -> None:
        """Read the file.

        Args:
            path: of the file; the first record makes it and its folder.
            kind: of the records.
            made_with: everything that the records depend on, as JSON has it.

        Raises:
            InputError: the file was made with something else, or is damaged.
        """
        self._path = path
        self._made_with = made_with
        self.entries: list[AnyRecord] = []
        """In the order of the file."""
        lines = recover_lines(path)
        if not lines:
            return
        theirs = lines[0]
        differ = [
            f"{name}={quoted(theirs.get(name))}" for name, value in made_with.items() if theirs.get(name) != value
        ]
        if differ:
            raise InputError(f"--out: {path} was made with {', '.join(differ)}; pass another --out, or remove it")
        for number, line in enumerate(lines[1:], start=2):
            where = f"--out: {path}:{number}"
            self.entries.append(check_record(kind, line, where, "the file is damaged, remove it"))

    def append(self, entry: AnyRecord) -> None:
        """Store the next record."""
        if not self._path.is_file() or self._path.stat().st_size == 0:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            append_line(self._path, self._made_with)
        append_line(self._path, entry.model_dump())
        self.entries.append(entry)
