"""``verl-nthr demo``: train a toy with stock verl on this machine and look at the result."""

from __future__ import annotations

import argparse
from pathlib import Path

from verl_nthr.arguments import positive_float, positive_int, seed
from verl_nthr.demo.settings import Settings, known_estimators


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the description and the arguments of the subcommand."""
    parser.description = (
        "Makes a tiny model, warms it up on worked additions, trains it with stock verl (vLLM, FSDP, Ray) "
        "on this machine's CPU, and writes accuracies, timings, a reward curve and a page of token scores."
    )
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    parser.add_argument(
        "--estimator",
        default="nthr",
        choices=known_estimators(),
        metavar="NAME",
        help=f"algorithm.adv_estimator: {', '.join(known_estimators())}",
    )
    parser.add_argument("--steps", type=positive_int, default=20, metavar="N", help="training steps")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of additions, model and sampling")
    parser.add_argument("--workers", type=positive_int, default=1, metavar="N", help="training processes")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder to write to (default: demo-out/<estimator>-seed<seed>)",
        default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--time-limit", type=positive_float, default=30.0, metavar="MIN", help="minutes that the training may take"
    )
    parser.add_argument(
        "--stall-limit",
        type=positive_float,
        default=8.0,
        metavar="MIN",
        help="minutes without a new step after which the training is ended",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo; 0 if everything went well, else 1 with the reason on standard error."""
    from rich.console import Console

    from verl_nthr.demo.demo import DemoError, run_demo
    from verl_nthr.errors import InputError
    from verl_nthr.text import print_error

    out = getattr(args, "out", None) or Path("demo-out") / f"{args.estimator}-seed{args.seed}"
    settings = Settings(
        estimator=args.estimator,
        steps=args.steps,
        seed=args.seed,
        workers=args.workers,
        out=out.absolute(),
        time_limit=60 * args.time_limit,
        stall_limit=60 * args.stall_limit,
    )
    try:
        run_demo(settings, Console())
    except (DemoError, InputError, OSError) as error:
        print_error("verl-nthr demo", error)
        return 1
    return 0
