"""The ``verl-nthr`` command."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from collections.abc import Container, Sequence
from types import FrameType
from typing import NoReturn

from verl_nthr.version import __version__

COMMANDS = {
    "demo": "train a toy with stock verl on this machine, in about ten minutes, and look at the result",
    "doctor": "check that verl loads NTHR, or that a training command can work",
    "eval": "evaluate models and checkpoints on benchmarks: greedy accuracy, Pass@K, curves over training steps",
    "heatmap": "make an HTML page of dumped rollouts, their tokens coloured by score, and summaries of them",
    "probe": "measure on your model and data how one GRPO update displaces correct responses, with and without NTHR",
}
"""Subcommands, each in the module of its name, and what they are for."""

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
    argv = sys.argv[1:] if argv is None else argv
    args = make_parser(argv).parse_args(argv or ["--help"])
    try:
        return args.run(args)
    except KeyboardInterrupt:
        print("verl-nthr: interrupted", file=sys.stderr)
        return INTERRUPTED


def make_parser(names: Container[str] = tuple(COMMANDS)) -> argparse.ArgumentParser:
    """Make the parser; only the modules of the subcommands among ``names`` are imported.

    Each subcommand sets ``run``, which takes the arguments and returns the exit code.
    """
    parser = argparse.ArgumentParser(
        prog="verl-nthr", description="Negative token hidden reward (NTHR) for verl: tools for people."
    )
    parser.add_argument("--version", action="version", version=f"verl-nthr {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, purpose in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=purpose)
        if name in names:
            importlib.import_module(f"verl_nthr.cli.{name}").configure(subparser)
    return parser


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
