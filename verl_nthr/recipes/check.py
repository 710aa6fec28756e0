"""Checks the settings of a recipe without a GPU, Ray or a model.

``python -m verl_nthr.recipes.check [--files] OVERRIDE...`` takes the overrides that ``verl.trainer.main_ppo`` gets on
the packaged configuration, and exits with 2 and the reasons if such a run cannot work.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from omegaconf import DictConfig

from verl_nthr.errors import InputError
from verl_nthr.integration.config.composition import compose_run
from verl_nthr.integration.config.examination import examine_run
from verl_nthr.text import print_error

REFUSED = 2


def check(config: DictConfig, *, files: bool = False) -> list[str]:
    """Check a run, and with ``files`` that its data, reward function and local model are there.

    Returns:
        Warnings of verl and of this package.

    Raises:
        InputError: the run cannot work; the message has every reason.
    """
    report = examine_run(config, files=files)
    if report.problems:
        raise InputError("\n".join(report.problems))
    return report.warnings


def main(argv: Sequence[str] | None = None) -> int:
    """Check a run; 0 if it can work, else 2 with the reasons on standard error."""
    parser = argparse.ArgumentParser(prog="python -m verl_nthr.recipes.check", description="Check a run's settings.")
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="as verl.trainer.main_ppo takes them")
    parser.add_argument("--files", action="store_true", help="check that data and reward function are there, too")
    args = parser.parse_args(argv)
    try:
        warnings = check(compose_run(args.overrides), files=args.files)
    except InputError as error:
        print_error("recipe", error)
        return REFUSED
    for warning in warnings:
        print_error("recipe: warning", warning)
    return 0


if __name__ == "__main__":
    sys.exit(main())
