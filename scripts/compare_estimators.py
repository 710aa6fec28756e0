"""Train the demo's toy with several estimators from the same start, seed by seed, and compare what comes out."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from verl_nthr.arguments import positive_float, positive_int
from verl_nthr.comparison.figures import write_figure
from verl_nthr.comparison.methods import parse_method
from verl_nthr.comparison.report import grids
from verl_nthr.comparison.run import run_all
from verl_nthr.comparison.settings import METHODS, STEPS, TASKS, Settings
from verl_nthr.comparison.statistics import summarise
from verl_nthr.errors import InputError
from verl_nthr.files import write_whole
from verl_nthr.integration.config.estimators import ESTIMATORS
from verl_nthr.tables import markdown, print_grids
from verl_nthr.text import on_one_line, print_error


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison; 0 if everything went well, else 1 with the reason on standard error."""
    args = make_parser().parse_args(argv)
    console = Console(stderr=args.json)
    begin = time.monotonic()
    try:
        for method in args.estimators:
            parse_method(method)
        all_settings = [
            Settings(task, method, seed, args.steps or STEPS[task], args.learning_rate)
            for task in args.tasks
            for seed in range(args.seeds)
            for method in args.estimators
        ]
        results = run_all(all_settings, args.out, args.jobs, lambda line: console.print(line, highlight=False))
        summary = summarise(results)
        write_whole(args.out / "comparison.json", json.dumps(summary, indent=1, allow_nan=False).encode())
        write_whole(args.out / "comparison.md", markdown(grids(summary, Settings.pass_k)).encode())
        for task in args.tasks:
            mine = [result for result in results if result["settings"]["task"] == task]
            write_figure(mine, args.out / f"{task}.png", f"The {task} task, {args.seeds} seeds")
    except (InputError, OSError) as error:
        print_error("compare_estimators", error)
        return 1
    if args.json:
        print(json.dumps(summary, allow_nan=False))
    else:
        print_grids(grids(summary, Settings.pass_k), console)
        out = Text(on_one_line(str(args.out)))
        console.print(f"{time.monotonic() - begin:.0f} s; tables and curves are in", out, highlight=False)
    return 0


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--estimators",
        nargs="+",
        default=METHODS,
        metavar="NAME",
        help=f"{', '.join(ESTIMATORS)}, one of verl's that takes rewards and groups, or a pair of base and weighting, "
        f"such as ngrpo+nthr ({' '.join(METHODS)})",
    )
    parser.add_argument(
        "--tasks", nargs="+", default=list(TASKS), choices=TASKS, help="additions of three or of four digits (both)"
    )
    parser.add_argument("--seeds", type=positive_int, default=5, metavar="N", help="seeds 0 to N - 1 (5)")
    steps = ", ".join(f"{task}: {number}" for task, number in STEPS.items())
    parser.add_argument("--steps", type=positive_int, metavar="N", help=f"training steps ({steps})")
    rate = Settings.learning_rate
    parser.add_argument(
        "--learning-rate", type=positive_float, default=rate, metavar="LR", help=f"of AdamW, constant ({rate})"
    )
    parser.add_argument(
        "--jobs",
        type=positive_int,
        default=os.cpu_count(),
        metavar="N",
        help="runs side by side, a thread each (one a processor)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("compare-out"), metavar="DIR", help="folder to write to (compare-out)"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
