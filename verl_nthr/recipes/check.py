"""Composes the configuration of a run and checks it without a GPU, data or a model.

``python -m verl_nthr.recipes.check [--files] OVERRIDE...`` takes the overrides that ``verl.trainer.main_ppo`` gets on
the packaged configuration, and exits with 2 and the reasons if such a run cannot work.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from verl_nthr.cli import run_config
from verl_nthr.cli.run_config import PACKAGED_CONFIG, RunConfigError
from verl_nthr.errors import InputError
from verl_nthr.text import print_error

if TYPE_CHECKING:
    from omegaconf import DictConfig

REFUSED = 2


def compose_run(overrides: Sequence[str]) -> DictConfig:
    """The configuration of ``verl.trainer.main_ppo`` on the packaged configuration.

    Raises:
        InputError: hydra refuses an override.
    """
    try:
        return run_config.compose_run(overrides, *PACKAGED_CONFIG)
    except RunConfigError as error:
        raise InputError(str(error)) from error


def check(config: DictConfig, *, files: bool = False) -> list[str]:
    """Check a configuration, and with ``files`` that data, reward function and a local model are there.

    Returns:
        What verl and this package warn about.

    Raises:
        InputError: the run cannot work; the message has every reason.
    """
    findings = run_config.check(config)
    problems = [*(run_config.missing_files(config) if files else ()), *findings.problems]
    if problems:
        raise InputError("\n".join(problems))
    return findings.warnings


def main(argv: Sequence[str] | None = None) -> int:
    """Check a run; 0 if it can work, else 2 with the reasons on standard error."""
    parser = argparse.ArgumentParser(prog="python -m verl_nthr.recipes.check", description="Check a run's settings.")
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="as verl.trainer.main_ppo takes them")
    parser.add_argument("--files", action="store_true", help="check that data and reward function are there, too")
    args = parser.parse_args(argv)
    try:
        messages = check(compose_run(args.overrides), files=args.files)
    except InputError as error:
        print_error("recipe", error)
        return REFUSED
    for message in messages:
        print_error("recipe: warning", message)
    return 0


if __name__ == "__main__":
    sys.exit(main())
