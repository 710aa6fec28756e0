"""The ``verl-nthr`` command."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from verl_nthr.cli import demo, doctor, eval, heatmap, probe
from verl_nthr.version import __version__

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Args:
        argv: arguments without the program's name; those of the process if None.

    Returns:
        The exit code: 0 for success, 1 for a failure, 130 after Ctrl-C or SIGTERM. argparse exits with 2 for wrong
        arguments.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    args = make_parser().parse_args(argv)
    try:
        return args.run(args)
    except KeyboardInterrupt:
        print("verl-nthr: interrupted", file=sys.stderr)
        return INTERRUPTED


def make_parser() -> argparse.ArgumentParser:
    """The parser with all subcommands; each sets ``run``, which takes the arguments and returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="verl-nthr", description="Negative token hidden reward (NTHR) for verl: tools for people."
    )
    parser.add_argument("--version", action="version", version=f"verl-nthr {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (demo, doctor, eval, heatmap, probe):
        command.register(subparsers)
    return parser


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
