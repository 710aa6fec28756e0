"""Where and how a benchmark was run, its tables, and its JSON file."""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.errors import BenchmarkError
from verl_nthr.files import write_whole
from verl_nthr.supported import versions
from verl_nthr.text import print_error


def environment(args: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """The keys that every benchmark's JSON begins with."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(["python", *sys.argv]),
        "arguments": {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()},
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }


def device_name(device: torch.device) -> str:
    """Name of the accelerator, or of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    processor = Path("/proc/cpuinfo")
    lines = processor.read_text(encoding="utf-8").splitlines() if processor.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} processors" if names else platform.processor() or platform.machine()


def print_environment(found: dict[str, Any], console: Console) -> None:
    """One line above the tables."""
    packages = ", ".join(f"{name} {version}" for name, version in found["versions"].items() if version)
    console.print(f"{found['date']}; {found['device']}, {found['threads']} threads; {packages}", highlight=False)


def print_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    """A table whose first column is text and whose others are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def run(name: str, benchmark: Callable[[argparse.Namespace, Console], dict[str, Any]], args: argparse.Namespace) -> int:
    """Run a benchmark and write its result to ``args.json``; 0, or 1 with the reason on standard error."""
    try:
        result = benchmark(args, Console())
        if args.json is not None:
            write_whole(args.json, json.dumps(result, indent=1, allow_nan=False).encode())
    except (BenchmarkError, OSError) as error:
        print_error(name, error)
        return 1
    return 0


def size(count: float) -> str:
    """A number of bytes in kB, MB or GB."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if count >= factor:
            return f"{count / factor:.2f} {unit}"
    return f"{count / 1e3:.2f} kB"
