"""Environment, tables and the JSON file of a benchmark."""

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

from verl_nthr.arguments import positive_int
from verl_nthr.files import write_whole
from verl_nthr.supported import versions
from verl_nthr.text import print_error


class BenchmarkError(Exception):
    """A benchmark cannot be run as asked; the message names the option, its value and the fix."""


def make_parser(description: str | None, *, rounds: int | None = None) -> argparse.ArgumentParser:
    """Parser with ``--device``, ``--json`` and, given a default, ``--rounds``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(%(default)s)")
    if rounds is not None:
        parser.add_argument("--rounds", type=positive_int, default=rounds, metavar="N", help="to time (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result to this file")
    return parser


def run(measure: Callable[[argparse.Namespace, Console], dict[str, Any]], args: argparse.Namespace) -> int:
    """Measure, and write the result to ``args.json``; 0, or 1 with the reason on standard error."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    try:
        if args.device == "cuda" and not torch.cuda.is_available():
            raise BenchmarkError("--device cuda: torch sees no CUDA device; use --device cpu")
        environment = {
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "command": shlex.join(["python", *sys.argv]),
            "arguments": {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()},
            "device": device_name(args.device),
            "threads": torch.get_num_threads(),
            "versions": versions(),
        }
        packages = ", ".join(f"{name} {version}" for name, version in environment["versions"].items() if version)
        console.print(
            environment["date"], environment["device"], f"{environment['threads']} threads", packages, sep="; "
        )
        result = environment | measure(args, console)
        if args.json is not None:
            write_whole(args.json, json.dumps(result, indent=1, allow_nan=False).encode())
    except (BenchmarkError, OSError) as error:
        print_error(Path(sys.argv[0]).stem, error)
        return 1
    return 0


def device_name(device: str) -> str:
    """Name of the accelerator or processor."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    processor = Path("/proc/cpuinfo")
    lines = processor.read_text(encoding="utf-8").splitlines() if processor.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} processors" if names else platform.processor() or platform.machine()


def print_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[object]], console: Console) -> None:
    """A table whose first column is text and whose others are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left")
    for row in rows:
        table.add_row(*map(str, row))
    console.print(table)


def size(count: float) -> str:
    """A number of bytes in kB, MB or GB."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if count >= factor:
            return f"{count / factor:.2f} {unit}"
    return f"{count / 1e3:.2f} kB"
