"""``verl-nthr doctor``: is everything in place for verl to train with NTHR, and can a training command work?"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import IO, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from verl_nthr.arguments import positive_float
from verl_nthr.cli.checks import ACTOR, HERE, Check, Report, examine
from verl_nthr.cli.run_report import examine_command, print_report
from verl_nthr.cli.training_command import read_command

Found = TypeVar("Found")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the description and the arguments of the subcommand."""
    parser.description = (
        "Checks versions, entry points and what verl has loaded, in this process and in an actor of a "
        "private local Ray. With --config it checks a training command instead, without a GPU, Ray or a download. The "
        "exit code is 1 if something is missing or wrong; the remedy is shown with it."
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument(
        "--ray-seconds",
        type=positive_float,
        default=180.0,
        metavar="S",
        help="time limit of the Ray actor (default: 180)",
    )
    parser.add_argument(
        "--config",
        nargs=argparse.REMAINDER,
        metavar="OVERRIDE",
        help="the last flag: what verl.trainer.main_ppo is given, --config-path and --config-name included, or the "
        "whole command, as it is or as one quoted string",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Examine and print; 0 if nothing is missing or wrong, else 1."""
    if args.config is not None:
        return _run_config(args.config, as_json=args.json)
    report = _quietly(lambda: examine(args.ray_seconds), is_ok=lambda found: found.ok)
    if args.json:
        _print_json(report.ok, asdict(report))
    else:
        _print_tables(report)
    return 0 if report.ok else 1


def _run_config(words: Sequence[str], *, as_json: bool) -> int:
    command = read_command(words)
    report = _quietly(lambda: examine_command(command), is_ok=lambda found: True)
    is_ok = not report.problems
    if as_json or command.json:
        _print_json(is_ok, {"config": asdict(report)})
    else:
        print_report(report)
    return 0 if is_ok else 1


def _print_json(is_ok: bool, found: dict[str, object]) -> None:
    print(json.dumps({"ok": is_ok, **found}, indent=2, ensure_ascii=False))


def _quietly(examination: Callable[[], Found], *, is_ok: Callable[[Found], bool]) -> Found:
    """Make an examination; what is printed meanwhile is shown if it fails or does not find everything ok."""
    with tempfile.TemporaryFile() as noise:
        try:
            with _output_to(noise):
                found = examination()
        except BaseException:
            _show(noise)
            raise
        if not is_ok(found):
            _show(noise)
    return found


@contextlib.contextmanager
def _output_to(file: IO[bytes]) -> Iterator[None]:
    """Send what imported packages print, on both standard streams and from any thread, to ``file``."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    try:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, descriptor in enumerate(saved, start=1):
            os.dup2(descriptor, number)
            os.close(descriptor)


def _show(file: IO[bytes]) -> None:
    """Show what was printed meanwhile: it may tell what is wrong."""
    file.seek(0)
    sys.stderr.write(file.read().decode("utf-8", errors="replace"))
    sys.stderr.flush()


def _print_tables(report: Report) -> None:
    console = Console()
    console.print(_environment_table(report))
    console.print(_process_table(report))
    for colour, word, ok in (("red", "remedy", False), ("yellow", "note", None)):
        for text in dict.fromkeys(check.remedy for check in report.checks if check.ok is ok and check.remedy):
            console.print(f"[{colour}]{word}[/{colour}] {escape(text)}", highlight=False, soft_wrap=True)
    console.print("[green]Everything is in place.[/green]" if report.ok else "[red]Something is missing.[/red]")


def _environment_table(report: Report) -> Table:
    table = _table("verl-nthr doctor", "", "environment", "found")
    for check in report.checks:
        if not check.where:
            table.add_row(_sign(check), Text(check.name), Text(check.found))
    return table


def _process_table(report: Report) -> Table:
    found: dict[str, dict[str, Check]] = {}
    for check in report.checks:
        if check.where:
            found.setdefault(check.name, {})[check.where] = check
    table = _table("in place", HERE, ACTOR, "what")
    for name, places in found.items():
        table.add_row(*(_sign(places.get(where)) for where in (HERE, ACTOR)), Text(name, overflow="fold"))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", justify="center" if column in (HERE, ACTOR) else "left")
    return table


def _sign(check: Check | None) -> Text:
    if check is None or check.ok is None:
        return Text("·", "dim")
    return Text("✓", "green") if check.ok else Text("✗", "red")
